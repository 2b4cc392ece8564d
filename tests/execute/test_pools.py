"""Both executors keep one contract."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting_for_tests import collect, run, until

from ablate.execute.local import Local, LocalPool
from ablate.kinds.executor import Pool

WORK = "work_for_tests:work"
HERE = Path(__file__).parent


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
    assert each < (0.01 if isinstance(pool, LocalPool) else 0.15), f"{each * 1000:.2f} ms a job"


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
