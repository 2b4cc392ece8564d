"""A work function for the checks of executors: jobs that end in each of the ways in which a trial can end."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from ablate.kinds.executor import Job, Stop, Stopped

WORK = f"{__name__}:work"
FAILURE = "a wire is loose"  # the message of the job that raises


def work(job: Job, stop: Stop) -> Any:
    """Do what `job["do"]` says, and report where."""
    do = job["do"]
    if do == "raise":
        raise RuntimeError(FAILURE)
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "report":
        return job["report"]
    if do == "wait":
        _wait(Path(job["file"]), stop)
    return {"status": "done", "job_as_received": job, "process": [socket.gethostname(), os.getpid()]}


def _wait(file: Path, stop: Stop) -> None:
    """Write to a file again and again, until another file beside it says that it is enough."""
    while not file.with_suffix(".enough").exists():
        if stop():
            raise Stopped
        file.write_text(f"{time.time_ns()} {os.getpid()}")
        time.sleep(0.01)
