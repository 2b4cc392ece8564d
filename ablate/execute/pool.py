"""The base of the pools: counts free slots, and hands reports over by a queue."""

from __future__ import annotations

import json
from abc import abstractmethod
from queue import Empty, SimpleQueue

from ablate.kinds.executor import Job, Pool, Report


class QueuePool(Pool):
    """A pool whose jobs begin in `_begin`; whoever ends one, in whatever thread, puts its report into `_ended`.

    slots: how many jobs run at once. threads: CPU threads for each, None where it is torch's choice.
    """

    def __init__(self, slots: int, threads: int | None) -> None:
        self.slots = slots
        self.threads = threads
        self._running: set[str] = set()
        self._ended: SimpleQueue[str] = SimpleQueue()  # reports as JSON text
        self._closed = False

    def submit(self, job: Job) -> None:
        """Start a job. Raises RuntimeError without a free slot, TypeError or ValueError if it is not JSON."""
        name = job["job"]
        if self._closed:
            raise RuntimeError(f"job {name!r} cannot start: the pool is closed")
        if name in self._running or len(self._running) >= self.slots:
            running = ", ".join(sorted(self._running))
            raise RuntimeError(f"job {name!r} cannot start: {self.slots} slots, running {running}")
        threads = self.threads if job.get("threads") is None else job["threads"]
        text = json.dumps({**job, "threads": threads}, allow_nan=False)
        self._begin(name, text)
        self._running.add(name)

    def wait(self, timeout: float) -> list[Report]:
        """Return all reports that are there, as soon as there is one; see `Pool.wait`."""
        reports: list[Report] = []
        while self._running:
            try:
                # Only the first is waited for.
                text = self._ended.get_nowait() if reports else self._ended.get(timeout=max(timeout, 0.0))
            except Empty:
                break
            report: Report = json.loads(text)
            self._running.discard(report["job"])
            reports.append(report)
        return reports

    def close(self) -> None:
        """Stop everything; what still runs is never reported."""
        if not self._closed:
            self._closed = True
            self._running.clear()
            self._end()

    @abstractmethod
    def _begin(self, name: str, job: str) -> None:
        """Run a job, given as JSON text, without waiting for it."""

    @abstractmethod
    def _end(self) -> None:
        """Stop all workers."""
