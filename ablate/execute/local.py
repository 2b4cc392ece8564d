"""The executor `local`: one job at a time in this process, without Ray.

The job runs in a thread of its own, so that the driver goes on showing progress (torch works without
the interpreter lock) and Ctrl-C reaches the main thread at once. A thread cannot be killed: `close`
asks the work function to stop, which it sees by calling its second argument, and waits for that.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import ClassVar, Self

from pydantic import model_validator

from ablate.execute.pool import QueuePool
from ablate.execute.work import call
from ablate.kinds.executor import Executor, Pool

GRACE = 30.0  # seconds that a running job gets to reach its next step


class Local(Executor):
    """One slot, in this process: for small studies, for debugging, and where Ray is not installed."""

    name = "local"
    preference: ClassVar[int] = 0

    @model_validator(mode="after")
    def _one_worker(self) -> Self:
        if self.workers not in (None, 1):
            raise ValueError("the executor 'local' runs one job at a time: leave `workers` out, or use 'ray'")
        return self

    def start(self, work: str, device: str) -> Pool:
        """A pool with one slot, whatever the device is."""
        return LocalPool(work)


class LocalPool(QueuePool):
    """One thread for the life of the pool, so that the thread pools of OpenMP are made once."""

    def __init__(self, work: str) -> None:
        super().__init__(slots=1, threads=None)
        self._work = work
        self._jobs: SimpleQueue[str | None] = SimpleQueue()
        self._stop = threading.Event()
        # A daemon: work that never asks whether to stop must not keep the process from ending.
        self._thread = threading.Thread(target=self._serve, name="ablate-local", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for job in iter(self._jobs.get, None):
            self._ended.put(call(self._work, job, self._stop.is_set))

    def _begin(self, name: str, job: str) -> None:
        self._jobs.put(job)

    def _end(self) -> None:
        self._stop.set()
        self._jobs.put(None)
        self._thread.join(GRACE)
