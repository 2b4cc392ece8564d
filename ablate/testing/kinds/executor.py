"""Checks of an executor: every job is run and reported once, whatever becomes of it, and `close` ends what runs."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.kinds.executor import Executor, Pool
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.jobs import FAILURE, WORK

Reported = Mapping[str, Any]  # a report, with what the work function adds

PATIENCE = 300.0  # seconds that a job of no length may take, on a busy machine too
SILENCE = 1.0  # seconds in which a job that still runs would have written


def runs_every_job_once(case: Case) -> None:
    """Each job arrives as it was sent, as JSON, and is reported once; `slots` of them run at a time."""
    with _pool(case) as pool:
        assert pool.slots >= 1, f"slots is {pool.slots}"
        assert list(pool.wait(PATIENCE)) == [], "wait reports something though nothing was submitted"
        waiting: list[dict[str, Any]] = [
            {"job": f"job {i}", "do": "echo", "text": "ü", "list": [1, 2.5, None]} for i in range(2 * pool.slots + 1)
        ]
        sent = {job["job"]: job for job in waiting}
        reports: list[Reported] = []
        while len(reports) < len(sent):
            running = len(sent) - len(waiting) - len(reports)
            for _ in range(min(pool.slots - running, len(waiting))):
                pool.submit(waiting.pop())
            reports += _reports(pool, 1)
        reported = sorted(report["job"] for report in reports)
        assert reported == sorted(sent), (
            f"{len(sent)} jobs were submitted, and these are reported: {', '.join(reported)}"
        )
        for report in reports:
            assert report["status"] == "done", f"a job that ends well is reported as {report}"
            received = dict(report["job_as_received"])
            threads = received.pop("threads", None)
            assert received == sent[report["job"]], f"the job {sent[report['job']]} arrived as {received}"
            assert threads is None or (isinstance(threads, int) and threads >= 1), f"`threads` arrives as {threads!r}"
        arrived = _run(pool, do="echo", threads=3)["job_as_received"]["threads"]
        assert arrived == 3, f"a job that asks for 3 threads is told {arrived!r}"


def reports_what_fails(case: Case) -> None:
    """An exception is a report with message and traceback, and so is what is no report; the worker goes on."""
    with _pool(case) as pool:
        report = _run(pool, do="raise")
        assert report["status"] == "failed", f"an exception is reported as {report['status']!r}"
        assert FAILURE in report.get("message", ""), f"its message is lost: {report.get('message')!r}"
        assert "testing/jobs.py" in report.get("traceback", "").replace(os.sep, "/"), "its traceback is lost"
        for wrong in ({"status": "fine"}, [1]):
            report = _run(pool, do="report", report=wrong)
            assert report["status"] == "failed", f"{wrong}, which is no report, is reported as {report['status']!r}"
        for status in ("diverged", "oom"):
            report = _run(pool, do="report", report={"status": status, "step": 3})
            assert report == {"job": "one", "status": status, "step": 3}, f"status {status!r} arrives as {report}"
        for refused in ({1, 2}, float("nan")):
            with contextlib.suppress(TypeError, ValueError):
                pool.submit({"job": "no JSON", "do": "echo", "value": refused})
                raise AssertionError(f"a job that is not JSON is taken: it holds {refused!r}")
        assert _run(pool, do="echo")["status"] == "done", "after these it runs no more jobs"


def replaces_a_worker_that_dies(case: Case) -> None:
    """A job whose worker is killed is reported as lost, and the next one runs."""
    with _pool(case) as pool:
        host, process = _run(pool, do="echo")["process"]
        if (host, process) == (socket.gethostname(), os.getpid()):
            raise NotApplicable("jobs run in the driver's own process, which ends with them")
        report = _run(pool, do="die")
        assert report["status"] == "lost", f"a job whose worker was killed is reported as {report['status']!r}"
        assert report.get("message"), "it is not said why the job was lost"
        assert _run(pool, do="echo")["status"] == "done", "after that it runs no more jobs"


def waits_and_closes(case: Case) -> None:
    """`wait` returns after its timeout while a job runs; `close` ends what runs, and can be called again."""
    with tempfile.TemporaryDirectory() as folder, _pool(case) as pool:
        file = Path(folder) / "first"
        _begin(pool, file)
        begun = time.monotonic()
        reports = list(pool.wait(0.1))
        assert reports == [], f"a job that runs is reported: {reports}"
        assert time.monotonic() - begun >= 0.09, "wait returns before its timeout, though there is no report"
        file.with_suffix(".enough").touch()
        assert _reports(pool, 1)[0]["status"] == "done"
        file = Path(folder) / "second"
        _begin(pool, file)
        pool.close()
        last = file.read_text()
        time.sleep(SILENCE)
        running = file.read_text() != last
        file.with_suffix(".enough").touch()  # so that it ends where `close` did not end it
        assert not running, "close returns while a job still runs"
        pool.close()
        assert list(pool.wait(0)) == [], "a closed pool reports something"


@contextlib.contextmanager
def _pool(case: Case) -> Iterator[Pool]:
    executor = case.component
    assert isinstance(executor, Executor)
    if not executor.measures:
        raise NotApplicable("it runs no work: it reports what was recorded earlier")
    if not executor.available():
        raise NotApplicable("it says that it cannot run here: `available()` is False")
    with executor.start(WORK, "cpu") as pool:
        yield pool


def _run(pool: Pool, **job: Any) -> Reported:
    """Run one job, called `one`, and return its report."""
    pool.submit({"job": "one", **job})
    (report,) = _reports(pool, 1)
    assert report["job"] == "one", f"the job 'one' is reported as {report['job']!r}"
    return report


def _reports(pool: Pool, count: int) -> list[Reported]:
    """Return the next `count` reports, or some more where they come together."""
    reports: list[Reported] = []
    end = time.monotonic() + PATIENCE
    while len(reports) < count:
        assert time.monotonic() < end, f"{len(reports)} of {count} jobs are reported within {PATIENCE:.0f} s"
        reports += pool.wait(1.0)
    return reports


def _begin(pool: Pool, file: Path) -> None:
    """Start a job that writes to a file until it is told to stop."""
    pool.submit({"job": file.name, "do": "wait", "file": str(file)})
    end = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < end, f"a job that was submitted does not begin within {PATIENCE:.0f} s"
        time.sleep(0.01)


CHECKS: tuple[Check, ...] = (runs_every_job_once, reports_what_fails, replaces_a_worker_that_dies, waits_and_closes)
