"""A pool with two slots on one local worker, so that a test sees what runs beside what."""

from __future__ import annotations

from typing import Any

from ablate.kinds.executor import Pool, Report


class Crowd(Pool):
    """Two slots on one local worker: a queue in front of it, as if two ran beside each other.

    The worker must be a process of its own: the driver builds the second network while the first one trains, and both
    would share the random states of one process.
    """

    slots = 2

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.waiting: list[Any] = []
        self.running: list[str] = []
        self.log: list[tuple[str, int]] = []  # what ended, and how many ran when it began

    def submit(self, job: Any) -> None:
        self.running.append(job["job"])
        self.log.append((job["job"], len(self.running)))
        self.waiting.append(job)
        self._begin()

    def _begin(self) -> None:
        if self.waiting and len(self.running) - len(self.waiting) == 0:
            self.pool.submit(self.waiting.pop(0))

    def wait(self, timeout: float) -> list[Report]:
        reports = self.pool.wait(timeout)
        for report in reports:
            self.running.remove(report["job"])
        self._begin()
        return reports

    def close(self) -> None:
        self.pool.close()
