"""A segment of a worker's life: what a batch system's job runs, until its time is over or there is no more work."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from ablate.execute.joined import JoinedWorker, Tally, UnfitError

PATIENCE = 120.0  # seconds that a segment gets to write its checkpoint and to put its trial back


class Segment:
    """Runs a worker in a job of submitit's, which sends it again when its time is over (SIGUSR2, SIGUSR1).

    SIGTERM (preemption, `scancel`) lets it write a checkpoint and put its trial back; who sends it again is then
    whoever preempted it, or the driver.
    """

    def __init__(self, study: str, threads: int | None) -> None:
        self._study = study
        self._threads = threads
        self._worker: JoinedWorker | None = None
        self._thread: threading.Thread | None = None

    def __call__(self) -> dict[str, Any]:
        """Work; return what was done: the fields of `Tally`, and `refused` where this machine cannot do it."""
        worker = self._worker = JoinedWorker(Path(self._study), self._threads, say=_say)
        tally, refused = Tally(), list[str]()

        def run() -> None:
            nonlocal tally
            try:
                tally = worker.run()
            except UnfitError as error:
                refused.append(str(error))

        def stop(number: int, frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        again = signal.getsignal(signal.SIGUSR2)  # submitit's: `checkpoint`, then once more
        if callable(again):
            signal.signal(signal.SIGUSR1, again)
        # In a thread: a signal's handler, which is called in the main one, can then wait for its end.
        self._thread = threading.Thread(target=run, name="ablate-segment", daemon=True)
        self._thread.start()
        while self._thread.is_alive():
            self._thread.join(0.5)
        return {**vars(tally), "refused": refused[0] if refused else None}

    def checkpoint(self) -> Any:
        """Called by submitit when the time is over: put back what runs, and return what is to be sent again."""
        import submitit

        if self._worker is not None and self._thread is not None:
            self._worker.stop()
            self._thread.join(PATIENCE)
        return submitit.helpers.DelayedSubmission(Segment(self._study, self._threads))


def _say(line: str) -> None:
    print(line, flush=True)
