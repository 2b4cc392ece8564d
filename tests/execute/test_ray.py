"""What only Ray can do, and only Ray can get wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from waiting_for_tests import PATIENCE, collect, run, until

from ablate.errors import InputError
from ablate.execute import cluster
from ablate.execute.cluster import Joined
from ablate.execute.own_cluster import _TOKEN, Own
from ablate.execute.ray import Ray
from ablate.kinds.executor import Pool

HERE = Path(__file__).parents[1] / "helpers"
WANTS_TOKENS = Ray.available() and [int(part) for part in version("ray").split(".")[:2]] >= [2, 52]


def test_ray_killed_worker_is_lost_and_replaced(
    ray_pool: Pool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pid = tmp_path / "one.pid"
    ray_pool.submit({"job": "one", "do": "spin", "seconds": 1e6, "file": str(pid)})
    until(lambda: pid.exists() and pid.read_text(), PATIENCE, "the job never began")
    capfd.readouterr()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    report = collect(ray_pool, 1)["one"]
    assert report["status"] == "lost"
    assert "worker process died" in report["message"]
    assert run(ray_pool, do="echo")["status"] == "done"
    time.sleep(1)
    assert capfd.readouterr() == ("", "")  # Ray says nothing of its own


def test_ray_workers_are_other_processes_that_stay(ray_pool: Pool) -> None:
    seen = {run(ray_pool, do="echo")["pid"] for _ in range(20)}
    assert os.getpid() not in seen
    assert len(seen) <= ray_pool.slots


def test_ray_tells_a_job_its_threads(ray_pool: Pool) -> None:
    assert run(ray_pool, do="threads") == {"job": "one", "status": "done", "threads": 1, "omp": "1"}
    assert run(ray_pool, do="threads", threads=3)["threads"] == 3


def test_ray_listens_on_loopback_alone(ray_pool: Pool) -> None:
    run(ray_pool, do="echo")
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {c.laddr.ip for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_ray_is_joined_at_an_address_and_left_running(ray_pool: Pool) -> None:
    import ray

    code = (
        "from ablate.execute.ray import Ray\n"
        "with Ray().start('work_for_tests:work', 'cpu') as pool:\n"
        "    pool.submit({'job': 'one', 'do': 'echo'})\n"
        "    print(pool.slots, [r['status'] for r in pool.wait(550)], end='')"
    )
    address = ray.get_runtime_context().gcs_address
    environment = {**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN}
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (process.stdout, process.stderr) == ("2 ['done']", "")
    assert run(ray_pool, do="echo")["status"] == "done"


def test_ray_connection_of_the_program_is_used_and_kept(ray_pool: Pool) -> None:
    with Ray(workers=1).start("work_for_tests:work", "cpu") as second:  # ray_pool has connected this process
        assert run(second, do="echo")["status"] == "done"
    assert run(ray_pool, do="echo")["status"] == "done"


@pytest.mark.parametrize("address", ["", " ", "127.0.0.1:1"])
def test_an_address_from_the_environment_that_leads_nowhere_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # a program that is connected keeps its cluster
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match="RAY_ADDRESS"):
        Ray().start("work_for_tests:work", "cpu")


def test_a_head_that_is_gone_is_one_message_before_ray_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that listens and then does not, on a clock of the test's own."""
    now = [0.0]
    monkeypatch.setattr(cluster.time, "monotonic", lambda: now[0])
    joined = Joined.__new__(Joined)
    with socket.create_server(("127.0.0.1", 0)) as head:
        joined._last_answer, joined._last_look, joined._address = 0.0, 0.0, f"127.0.0.1:{head.getsockname()[1]}"
        for now[0] in (6.0, 100.0):
            assert joined.alive()
    now[0] = 106.0
    assert joined.alive()  # it may come back
    now[0] = 126.0
    with pytest.raises(InputError, match=r"does not answer any more .* give the same command again"):
        joined.alive()


def test_a_start_that_native_code_ends_is_tried_twice_and_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As on a busy machine: C++ lines, then the end of the process that Ray is started in."""
    import ray  # noqa: F401 - here it is the real one; the process beside this one finds another

    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text(
        f"import os; open({str(tmp_path / 'tried')!r}, 'a').write('.')\n"
        "os.write(2, b'[2026-01-01 00:00:00,000 W 7 7] gcs_client.cc:1: busy\\n')\n"
        "os.write(2, b'[2026-01-01 00:00:01,000 C 7 7] core_worker.cc:9: Check failed: late\\n*** StackTrace\\n')\n"
        "os.abort()"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        InputError, match=r"\(ended by its native code: Check failed: late\); .*--executor local"
    ) as caught:
        Own(1, 0, 1)
    assert "\n" not in str(caught.value) and (tmp_path / "tried").read_text() == ".."
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not WANTS_TOKENS, reason="this Ray has no tokens")
@pytest.mark.parametrize("variables", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}])
def test_a_cluster_that_wants_a_token_says_what_to_set(
    ray_pool: Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variables: dict[str, str],
) -> None:
    """The tests' own cluster is one; this process knows its token, the environment does not."""
    import ray

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError) as caught:
        Joined(ray.get_runtime_context().gcs_address)
    assert ("wants another token than that of RAY_AUTH_TOKEN" if variables else "wants a token") in str(caught.value)
    for word in ("RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN ", "RAY_AUTH_TOKEN_PATH"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port"])
def test_ray_nowhere_is_the_users_error_at_once(address: str) -> None:
    with pytest.raises(InputError, match=f"no Ray cluster at '{address}'"):
        Joined(address)


def test_ray_not_installed_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python itself marks what cannot be imported
    assert not Ray.available()
    with pytest.raises(InputError, match="pip install"):
        Ray().start("work_for_tests:work", "cpu")


def test_a_worker_of_ray_that_imported_other_code_ends_the_run(ray_pool: Pool, tmp_path: Path) -> None:
    """The plugin is edited after the driver has read it: what a worker imports is not what the run began with."""
    from ablate.engine import Engine
    from ablate.study.launch import plan_of
    from ablate.study.load import load_study

    mine = tmp_path / "mine.py"
    text = (
        "from ablate.api import Weighting\n\n"
        "class Mine(Weighting):\n"
        '    name = "edited_under_ray"\n\n'
        "    def weight(self, level, sigma_data):\n"
        "        return 0.0 * level.snr + 1.0\n"
    )
    mine.write_text(text)
    study = {
        "study": "edited",
        "plugins": [str(mine)],
        "data": "digits",
        "base": {"backbone": {"type": "dit", "width": 16, "depth": 1, "heads": 2}, "weighting": "edited_under_ray"},
        "vary": {"batch": [16, 32]},
        "design": {"type": "one_factor", "seeds": 1},
        "budget": {"steps": 1},
        "evaluate": {"metrics": []},
    }
    plan = plan_of(load_study(study), tmp_path / "out", "cpu")
    mine.write_text(text.replace("+ 1.0", "+ 2.0"))
    with Ray(workers=1).start("ablate.worker.trial_run:run", "cpu") as pool, pytest.raises(InputError) as caught:
        Engine(plan, pool).run()
    assert "a worker imported other source code" in str(caught.value) and str(mine) in str(caught.value)
    assert "weighting/edited_under_ray: " in str(caught.value)
    assert not list((tmp_path / "out").glob("trials/*/*.json")), "nothing was recorded with it"


@pytest.mark.slow
def test_ray_cluster_that_dies_loses_its_jobs_and_comes_back(ray_pool: Pool, tmp_path: Path) -> None:
    pid = tmp_path / "one.pid"
    ray_pool.submit({"job": "one", "do": "sleep", "seconds": 1e6, "file": str(pid)})
    until(lambda: pid.exists() and pid.read_text(), PATIENCE, "the job never began")
    worker = psutil.Process(int(pid.read_text()))
    worker.parent().kill()  # the raylet: now no task begins any more, and this worker would go on
    assert collect(ray_pool, 1)["one"]["status"] == "lost"
    assert not worker.is_running()
    assert run(ray_pool, do="echo")["status"] == "done"
