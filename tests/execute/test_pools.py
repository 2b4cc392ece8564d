"""Both executors keep one contract; Ray's processes never outlive their driver."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ablate.execute.local import Local
from ablate.execute.ray import Ray
from ablate.kinds.executor import Pool, Report

WORK = "work_for_tests:work"
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def ray_pool() -> Iterator[Pool]:
    pytest.importorskip("ray")
    with Ray(workers=2, cpus=1).start(WORK, "cpu") as pool:
        yield pool


@pytest.fixture(params=["local", "ray"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_pool")
    else:
        with Local().start(WORK, "cpu") as started:
            yield started


def collect(pool: Pool, count: int, seconds: float = 60.0) -> dict[str, Report]:
    """The next `count` reports, by job."""
    end, found = time.monotonic() + seconds, {}
    while len(found) < count:
        assert time.monotonic() < end, f"only {sorted(found)}"
        found.update({report["job"]: report for report in pool.wait(0.1)})
    return found


def run(pool: Pool, **job: Any) -> Report:
    pool.submit({"job": "one", **job})
    return collect(pool, 1)["one"]


def until(true: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for something; how long it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, what
        time.sleep(0.05)
    return time.monotonic() - begun


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
    assert run(pool, do="echo")["status"] == "done"  # and the worker goes on


@pytest.mark.parametrize("status", ["done", "diverged", "oom"])
def test_own_report_passes_unchanged(pool: Pool, status: str) -> None:
    report = run(pool, do="report", report={"job": "one", "status": status, "step": 3})
    assert report == {"job": "one", "status": status, "step": 3}


def test_report_that_is_none_is_a_failure(pool: Pool) -> None:
    assert run(pool, do="nan")["status"] == "failed"
    assert run(pool, do="object")["status"] == "failed"
    assert "status is one of" in run(pool, do="report", report={"status": "fine"})["message"]
    assert "a report is a mapping" in run(pool, do="report", report=[1])["message"]


def test_slots_are_counted(pool: Pool, tmp_path: Path) -> None:
    for i in range(pool.slots):
        pool.submit({"job": str(i), "do": "sleep", "seconds": 0.3, "file": str(tmp_path / f"{i}.pid")})
    with pytest.raises(RuntimeError, match="cannot start"):
        pool.submit({"job": "late", "do": "echo"})
    assert set(collect(pool, pool.slots)) == {str(i) for i in range(pool.slots)}
    assert run(pool, do="echo")["status"] == "done"


def test_many_jobs_each_reported_once_whatever_the_order(pool: Pool) -> None:
    waiting, running, seen = [f"j{i}" for i in range(20)], 0, []
    while len(seen) < 20:
        while waiting and running < pool.slots:
            pool.submit({"job": waiting.pop(), "do": "echo"})
            running += 1
        reports = pool.wait(30)
        assert all(report["got"]["job"] == report["job"] for report in reports)
        seen += [report["job"] for report in reports]
        running -= len(reports)
    assert sorted(seen) == sorted(f"j{i}" for i in range(20))


def test_wait_returns_after_its_timeout_while_a_job_runs(pool: Pool, tmp_path: Path) -> None:
    pool.submit({"job": "one", "do": "sleep", "seconds": 1.0, "file": str(tmp_path / "pid")})
    begun = time.monotonic()
    assert pool.wait(0.1) == []
    assert 0.09 < time.monotonic() - begun < 0.9
    assert collect(pool, 1)["one"]["status"] == "done"


def test_trivial_jobs_are_cheap(pool: Pool) -> None:
    run(pool, do="echo")
    begun = time.perf_counter()
    for _ in range(50):
        run(pool, do="echo")
    each = (time.perf_counter() - begun) / 50
    assert each < (0.01 if isinstance(pool.slots, int) and pool.slots == 1 else 0.15), f"{each * 1000:.2f} ms a job"


# --- local ---------------------------------------------------------------------------------------


def test_local_close_stops_a_running_job(tmp_path: Path) -> None:
    pool = Local().start(WORK, "cpu")
    pool.submit({"job": "one", "do": "sleep", "seconds": 60, "file": str(tmp_path / "one.pid")})
    until((tmp_path / "one.pid").exists, 5, "the job never began")
    begun = time.monotonic()
    pool.close()
    assert time.monotonic() - begun < 5
    assert (tmp_path / "one.stopped").exists()  # the thread is through, nothing writes any more
    assert pool.wait(5) == []
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit({"job": "two", "do": "echo"})


def test_local_runs_here_one_at_a_time() -> None:
    with Local().start(WORK, "cpu") as pool:
        assert pool.slots == 1
        report = run(pool, do="echo")
    assert report["pid"] == os.getpid()
    assert report["got"]["threads"] is None  # torch's own choice
    with pytest.raises(ValueError, match="one job at a time"):
        Local(workers=2)


def test_unknown_work_function_fails_the_job() -> None:
    with Local().start("work_for_tests:nothing", "cpu") as pool:
        assert "nothing" in run(pool, do="echo")["message"]
    with Local().start("no_such_module:work", "cpu") as pool:
        assert "ModuleNotFoundError" in run(pool, do="echo")["message"]


def test_local_imports_no_ray_and_no_module_imports_torch() -> None:
    code = (
        "import sys; import ablate.execute.ray, ablate.execute.cluster; from ablate.execute.local import Local\n"
        "with Local().start('work_for_tests:work', 'cpu') as pool:\n"
        "    pool.submit({'job': 'one', 'do': 'echo'}); assert pool.wait(9)[0]['status'] == 'done'\n"
        "print([name for name in ('ray', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- ray -----------------------------------------------------------------------------------------


def test_ray_killed_worker_is_lost_and_replaced(ray_pool: Pool, tmp_path: Path) -> None:
    pid = tmp_path / "one.pid"
    ray_pool.submit({"job": "one", "do": "spin", "seconds": 60, "file": str(pid)})
    until(lambda: pid.exists() and pid.read_text(), 20, "the job never began")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    begun = time.monotonic()
    report = collect(ray_pool, 1, 20)["one"]
    assert report["status"] == "lost"
    assert report["message"]
    assert time.monotonic() - begun < 10
    assert run(ray_pool, do="echo")["status"] == "done"


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


@contextlib.contextmanager
def driver(executor: str, folder: Path, do: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], list[str]]]]:
    """A driver with busy workers in a process group of its own, and what is alive of it and below it."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, "ABLATE_TEST": mark, "PYTHONPATH": str(HERE), "TMPDIR": str(folder / "t")}
    (folder / "t").mkdir()
    command = [sys.executable, str(HERE / "driver_for_tests.py"), executor, str(folder), do]
    started = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    def alive() -> list[str]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("ABLATE_TEST") == mark:
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        return found

    jobs = 2 if executor == "ray" else 1
    try:
        until(lambda: len(list(folder.glob("*.pid"))) == jobs or started.poll() is not None, 90, "no job began")
        assert started.poll() is None, started.communicate()
        yield started, alive
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def ray_folders() -> set[str]:
    return {path.name for path in Path("/tmp").glob("ablate-ray-*")}


@pytest.mark.parametrize("do", ["sleep", "spin"])
def test_ray_driver_killed_leaves_no_process(tmp_path: Path, do: str) -> None:
    pytest.importorskip("ray")
    with driver("ray", tmp_path, do) as (started, alive):
        assert len(alive()) > 5  # the driver, Ray's servers, two workers
        started.kill()
        until(lambda: not alive(), 20, f"still there: {alive()}")


def test_ray_interrupt_leaves_no_process_no_folder_and_no_noise(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    before = ray_folders()
    with driver("ray", tmp_path, "spin") as (started, alive):
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
        out, errors = started.communicate(timeout=30)
        assert started.returncode == 130
        assert (out, errors) == ("", "")
        assert alive() == []
        assert ray_folders() <= before


def test_local_interrupt_stops_the_job(tmp_path: Path) -> None:
    with driver("local", tmp_path, "sleep") as (started, alive):
        os.killpg(started.pid, signal.SIGINT)
        _, errors = started.communicate(timeout=20)
        assert (started.returncode, errors) == (130, "")
        assert (tmp_path / "0.stopped").exists()
        assert alive() == []
