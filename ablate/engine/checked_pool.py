"""The border to the executors: a pool whose reports are checked once, when they come back."""

from __future__ import annotations

from typing import Self

from ablate.errors import InputError
from ablate.kinds.executor import Job, Pool
from ablate.worker.messages import WorkerReport, worker_report


class CheckedPool:
    """An executor's pool, used as a `Pool` is; its reports are typed, and of jobs that run.

    executor: its name, for the message where that is not so.
    """

    def __init__(self, pool: Pool, executor: str) -> None:
        self._pool = pool
        self._executor = executor
        self._running: set[str] = set()

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return self._pool.slots

    @property
    def apart(self) -> bool:
        """Whether jobs run in other processes; see `Pool.apart`."""
        return self._pool.apart

    def submit(self, job: Job) -> None:
        """Start a job; see `Pool.submit`."""
        self._pool.submit(job)
        self._running.add(job["job"])

    def wait(self, timeout: float) -> list[WorkerReport]:
        """Return the reports of jobs that ended; see `Pool.wait`. Raises InputError for one that is not valid."""
        reports = [worker_report(report, self._executor) for report in self._pool.wait(timeout)]
        for report in reports:
            if report["job"] not in self._running:
                message = f"gave back a report that is not valid: job: none of the name {report['job']!r} runs"
                raise InputError(message, f"executor {self._executor!r}")
            self._running.remove(report["job"])
        return reports

    def abandon(self, job: str, why: str) -> bool:
        """Kill the worker of a job that hangs; see `Pool.abandon`."""
        return self._pool.abandon(job, why)

    def news(self) -> list[str]:
        """Return lines for the user; see `Pool.news`."""
        return self._pool.news()

    def close(self) -> None:
        """Stop everything; see `Pool.close`."""
        self._pool.close()

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._pool.__exit__(*raised)
