"""The limit of a job's memory: how much its processes have resident, and the end of one that has more than it may."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from ablate.spec.quantities import format_size

LOOK = 0.25  # seconds between two looks
NOTE = ".memory_limit"  # in the trial's folder: why its process has ended itself


def resident(pid: int) -> int:
    """Return the bytes that a process and all that it has started have resident; 0 where it is gone."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def too_much(used: int, memory: int) -> str:
    """Return the message on a job that had more than it may."""
    return f"its processes had {format_size(used)} resident, and `limits.memory` is {format_size(memory)}"


@contextlib.contextmanager
def watched(job: str, memory: int | None) -> Iterator[None]:
    """End this process where it gets more memory than a job may have; the job's folder then has a note that says so.

    For workers that nobody watches from outside. job: JSON text.
    """
    if memory is None:
        yield
        return
    over, folder = threading.Event(), json.loads(job).get("folder")

    def look() -> None:
        while not over.wait(LOOK):
            if (used := resident(os.getpid())) > memory:
                if folder is not None:
                    with contextlib.suppress(OSError):
                        Path(folder).mkdir(parents=True, exist_ok=True)
                        (Path(folder) / NOTE).write_text(too_much(used, memory))
                os._exit(1)

    threading.Thread(target=look, name="ablate-memory", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def noted(folder: Path | None) -> str | None:
    """Return, and remove, the note that a job's process has left when it ended itself; None where there is none."""
    if folder is None:
        return None
    try:
        text = (folder / NOTE).read_text()
        (folder / NOTE).unlink()
    except OSError:
        return None
    return text
