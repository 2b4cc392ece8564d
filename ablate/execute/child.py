"""The worker of the executor `local`: a process of its own that runs one job after another.

Jobs come in as lines of JSON on stdin, reports go out as lines of JSON on what was stdout when it
began. Its end of stdin is the order to stop, also when the driver was killed; on Linux the kernel
ends it with its driver besides. Ctrl-C in a terminal reaches it too, and is the driver's to heed.
What a trial's own code prints goes to `output.txt` in the trial's folder.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

from ablate.execute.work import call
from ablate.runtime.parent import end_with

HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
SIGNALS = (signal.SIGINT, signal.SIGTERM, HANGUP)  # blocked by the driver until they are handled here
GRACE = 30.0  # seconds that a running job gets to reach its next step and to write its checkpoint
OUTPUT = "output.txt"


class Worker:
    """One process's loop. work: `module:function`; faults: a file handle for tracebacks of native crashes."""

    def __init__(self, work: str, driver: int, faults: int) -> None:
        self._work = work
        self._stop = threading.Event()
        self._busy = False
        self._jobs: SimpleQueue[str | None] = SimpleQueue()
        signal.signal(signal.SIGINT, lambda number, frame: None)
        for number in (signal.SIGTERM, HANGUP):
            signal.signal(number, self._request_stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        end_with(driver)
        faulthandler.enable(faults, all_threads=False)
        faulthandler.register(signal.SIGUSR1, faults, all_threads=False)
        self._reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def serve(self) -> None:
        """Run jobs until the driver is gone, or says to stop."""
        threading.Thread(target=self._listen, name="ablate-orders", daemon=True).start()
        self._get_ready()
        for job in iter(self._jobs.get, None):
            self._busy = True
            with output_to(json.loads(job)):
                report = call(self._work, job, self._stop.is_set)
            try:
                print(report, file=self._reports, flush=True)
            except OSError:  # nobody reads it any more
                break
            self._busy = False
            if self._stop.is_set():
                break
        _exit()

    def _get_ready(self) -> None:
        """Import the work function, and while no job has come, what it says that its jobs need.

        What is wrong with it is for the first job to report, and what it prints too.
        """
        with contextlib.suppress(Exception), printing_to(os.open(os.devnull, os.O_WRONLY)):
            module = importlib.import_module(self._work.partition(":")[0])
            if self._jobs.empty() and hasattr(module, "get_ready"):
                module.get_ready()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._jobs.put(line)
        self._request_stop()
        if not self._busy:
            _exit()
        threading.Event().wait(GRACE)  # what runs sees it at its next step
        _exit()

    def _request_stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stop.set()
        self._jobs.put(None)


def main() -> None:
    """Run a worker; called as `python -c CODE PATH WORK DRIVER FAULTS`, see `ablate.execute.local`."""
    work, driver, faults = sys.argv[2:]
    Worker(work, int(driver), int(faults)).serve()


def _exit() -> None:
    """Exit at once: no library's clean-up is worth waiting for, and each job has flushed what it wrote."""
    os._exit(0)


@contextlib.contextmanager
def output_to(job: Mapping[str, Any]) -> Iterator[None]:
    """Send what is printed meanwhile, also by native code, to a file in the trial's folder, if there is one."""
    try:
        folder = Path(job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        log = -1 if job.get("prepare") else os.open(folder / OUTPUT, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    except (KeyError, OSError):
        log = -1
    if log < 0:
        yield
        return
    try:
        with printing_to(os.dup(log)):
            yield
    finally:
        written = os.fstat(log).st_size
        os.close(log)
        if not written:
            (folder / OUTPUT).unlink(missing_ok=True)


@contextlib.contextmanager
def printing_to(log: int) -> Iterator[None]:
    """Send what is printed meanwhile, also by native code, to an open file, which is closed then."""
    before = os.dup(1), os.dup(2)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # a full disk; closed by the trial's own code
                stream.flush()
        for handle, number in zip(before, (1, 2), strict=True):
            os.dup2(handle, number)
            os.close(handle)
