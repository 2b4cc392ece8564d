"""Both executors keep one contract, beyond what the conformance checks ask of every executor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting_for_tests import PATIENCE, collect, run, until

from ablate.execute.local import Local
from ablate.execute.ray import Ray
from ablate.execute.workers import Workers
from ablate.kinds.executor import Executor, Pool

WORK = "work_for_tests:work"
HERE = Path(__file__).parents[1] / "helpers"


def test_done_and_json_round_trip(pool: Pool) -> None:
    job = {"do": "echo", "text": "ü€", "nested": {"list": (1, [2.5, None, True])}, 7: "seven"}
    report = run(pool, **{str(k): v for k, v in job.items()})
    assert report["status"] == "done"
    assert report["gave"] == [1, 2.5, None, "é"]
    assert report["got"]["text"] == "ü€"
    assert report["got"]["nested"] == {"list": [1, [2.5, None, True]]}  # what JSON makes of it, in both


def test_job_that_is_not_json_is_refused_and_takes_no_slot(pool: Pool) -> None:
    with pytest.raises(TypeError):
        pool.submit({"job": "x", "do": "echo", "value": {1, 2}})
    with pytest.raises(ValueError, match="Out of range"):
        pool.submit({"job": "x", "do": "echo", "value": float("inf")})
    assert pool.wait(5) == []  # at once: nothing runs
    assert run(pool, do="echo")["status"] == "done"


def test_exception_is_a_report_with_its_traceback(pool: Pool) -> None:
    report = run(pool, do="raise")
    assert report["status"] == "failed"
    assert report["message"] == "ZeroDivisionError: seven by nought"
    assert "work_for_tests.py" in report["traceback"]
    assert 'raise ZeroDivisionError("seven by nought")' in report["traceback"]
    assert run(pool, do="exit")["status"] == "failed"
    assert run(pool, do="interrupt")["message"] == "KeyboardInterrupt"  # of the job's own: nobody pressed Ctrl-C
    assert run(pool, do="cancel")["message"] == "CancelledError"
    assert run(pool, do="echo")["status"] == "done"  # and the worker goes on


def test_report_that_is_none_is_a_failure(pool: Pool) -> None:
    assert run(pool, do="nan")["status"] == "failed"
    assert run(pool, do="object")["status"] == "failed"
    assert "status is one of" in run(pool, do="report", report={"status": "fine"})["message"]
    assert "a report is a mapping" in run(pool, do="report", report=[1])["message"]


def test_slots_are_counted(pool: Pool, tmp_path: Path) -> None:
    for i in range(pool.slots):
        pool.submit({"job": str(i), "do": "until", "file": str(tmp_path / "go on")})
    with pytest.raises(RuntimeError, match="cannot start"):
        pool.submit({"job": "late", "do": "echo"})
    (tmp_path / "go on").touch()
    assert set(collect(pool, pool.slots)) == {str(i) for i in range(pool.slots)}
    assert run(pool, do="echo")["status"] == "done"


@pytest.mark.parametrize("executor", [Local, Workers, Ray])
def test_a_job_that_takes_more_memory_than_it_may_is_ended_and_told(
    request: pytest.FixtureRequest, tmp_path: Path, executor: type[Executor]
) -> None:
    if executor is Ray:
        request.getfixturevalue("ray_pool")  # its cluster
    with executor(workers=1, limits={"memory": "400MiB"}).start(WORK, "cpu") as pool:
        assert run(pool, do="grow", bytes=1 << 20, seconds=0.6, folder=str(tmp_path))["bytes"] == 1 << 20
        report = run(pool, do="grow", bytes=500 << 20, seconds=1e6, folder=str(tmp_path))
        assert report["status"] == "oom"
        assert re.fullmatch(r"its processes had \d+\.?\d* MiB resident, .* is 400 MiB", report["message"])
        assert run(pool, do="echo", folder=str(tmp_path))["status"] == "done"
    with pytest.raises(ValueError, match="cannot be ended"):
        Local(in_process=True, limits={"memory": "1GiB"})


# --- local ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_process", [False, True])
def test_local_close_stops_a_running_job(tmp_path: Path, in_process: bool) -> None:
    pool = Local(in_process=in_process).start(WORK, "cpu")
    pool.submit({"job": "one", "do": "sleep", "seconds": 1e6, "file": str(tmp_path / "one.pid")})
    until((tmp_path / "one.pid").exists, PATIENCE, "the job never began")
    pool.close()
    assert (tmp_path / "one.stopped").exists()  # it is through, nothing writes any more
    assert pool.wait(5) == []
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit({"job": "two", "do": "echo"})


def test_local_runs_one_at_a_time_in_one_process_beside_this_one(local_pool: Pool) -> None:
    assert local_pool.slots == 1
    reports = [run(local_pool, do="echo") for _ in range(3)]
    assert len({report["pid"] for report in reports} - {os.getpid()}) == 1
    assert reports[0]["got"]["threads"] is None  # torch's own choice
    with Local(in_process=True).start(WORK, "cpu") as pool:
        assert run(pool, do="echo")["pid"] == os.getpid()
    with pytest.raises(ValueError, match="one job at a time"):
        Local(workers=2)


@pytest.mark.parametrize(
    ("do", "why"),
    [
        ("segfault", "the worker process died: it crashed in native code [SIGSEGV]"),
        ("leave", "the worker process died: it ended with exit code 7"),
    ],
)
def test_local_worker_that_dies_loses_its_job_and_is_replaced(local_pool: Pool, do: str, why: str) -> None:
    report = run(local_pool, do=do)
    assert report["status"] == "lost" and report["message"].startswith(why)
    assert ("work_for_tests.py" in report.get("traceback", "")) == (do == "segfault")  # the line that crashed
    assert run(local_pool, do="echo")["status"] == "done"


def test_local_worker_killed_while_nothing_runs_is_replaced(local_pool: Pool) -> None:
    first = run(local_pool, do="echo")["pid"]
    os.kill(first, signal.SIGKILL)
    report = run(local_pool, do="echo")
    assert report["status"] == "lost" or report["pid"] != first  # it had the job already, or not
    assert run(local_pool, do="echo")["status"] == "done"


def test_local_worker_gets_ready_before_there_is_a_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first pool takes the worker that is there; one that nobody took is ended."""
    ready = tmp_path / "ready"
    monkeypatch.setenv("READY_FOR_TEST", str(ready))
    with Local().getting_ready(WORK):
        until(ready.exists, PATIENCE, "the worker did not get ready")
        with Local().start(WORK, "cpu") as pool, Local().start(WORK, "cpu") as other:
            assert run(pool, do="echo")["pid"] == int(ready.read_text()) != run(other, do="echo")["pid"]
    ready.unlink()
    with pytest.raises(ZeroDivisionError), Local().getting_ready(WORK):
        until(ready.exists, PATIENCE, "the worker did not get ready")
        raise ZeroDivisionError
    assert not psutil.pid_exists(int(ready.read_text()))
    assert capfd.readouterr() == ("", "")


def test_local_worker_that_hangs_is_ended_and_says_where(local_pool: Pool, tmp_path: Path) -> None:
    for do in ("spin", "sleep"):  # with and without the interpreter's lock in its hands
        file = tmp_path / do
        local_pool.submit({"job": "one", "do": do, "seconds": 1e6, "file": str(file)})
        until(lambda file=file: file.exists() and file.read_text(), PATIENCE, "the job never began")
        assert not local_pool.abandon("another", "no sign of life")
        assert local_pool.abandon("one", "no sign of life")
        report = collect(local_pool, 1)["one"]
        assert (report["status"], report["message"]) == ("failed", "no sign of life")
        assert "work_for_tests.py" in report["traceback"]
    assert run(local_pool, do="echo")["status"] == "done"


def test_what_a_job_prints_goes_to_its_folder(
    local_pool: Pool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(local_pool, do="print", folder=str(tmp_path / "trial"))["status"] == "done"
    assert (tmp_path / "trial" / "output.txt").read_text() == "from Python\nfrom a child\nand its errors\n"
    assert run(local_pool, do="echo", folder=str(tmp_path / "silent"))["status"] == "done"
    assert list((tmp_path / "silent").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_unknown_work_function_fails_the_job() -> None:
    with Local(in_process=True).start("work_for_tests:nothing", "cpu") as pool:
        assert "nothing" in run(pool, do="echo")["message"]
    with Local().start("no_such_module:work", "cpu") as pool:
        assert "ModuleNotFoundError" in run(pool, do="echo")["message"]


def test_local_works_in_one_line_and_imports_no_ray_and_no_module_imports_torch() -> None:
    """As in a notebook: no file, no `if __name__`."""
    code = (
        "import sys; import ablate.execute.ray, ablate.execute.own_cluster; from ablate.execute.local import Local\n"
        "with Local().start('work_for_tests:work', 'cpu') as pool:\n"
        "    pool.submit({'job': 'one', 'do': 'print'}); assert pool.wait(550)[0]['status'] == 'done'\n"
        "print([name for name in ('ray', 'torch') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    assert process.stdout == "[]\n"
    assert process.stderr == "from Python\nfrom a child\nand its errors\n"  # there is no folder for it
