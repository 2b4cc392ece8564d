"""Exclusive use: one job at a time in a process, one process at a time in a trial's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ablate.errors import InputError
from ablate.io.locks import locked
from ablate.kinds.executor import Job, Stop, Stopped
from ablate.runtime.isolation import TURNS, Before, isolated
from ablate.runtime.memory import out_of_memory


@contextlib.contextmanager
def alone_in_process(job: Job, stop: Stop) -> Iterator[Stop]:
    """Isolate a job in its process: its CPU threads, its turn, and global state put back after it.

    Gives the `stop` that the job has to ask. Raises GlobalStateError where a component changed what is
    global, unless the job ended in another way before.
    """

    def stop_in_turn() -> bool:
        TURNS.pause()
        return stop()

    with TURNS.working(), isolated() as state:
        if job.get("threads"):
            torch.set_num_threads(int(job["threads"]))
            state = Before()
        try:
            yield stop_in_turn
        except Exception as error:
            if not (isinstance(error, Stopped | InputError) or out_of_memory(error)):
                state.check_failed("this candidate", error)
            raise


@contextlib.contextmanager
def alone_in_folder(folder: Path, stop: Stop) -> Iterator[None]:
    """Lock a trial's folder; wait until no other process works on it: after a killed driver, its worker may linger."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", pause_of(stop)):
        yield


def pause_of(stop: Stop) -> Callable[[], None]:
    """Return a function that raises Stopped once the job is to stop."""

    def pause() -> None:
        if stop():
            raise Stopped

    return pause
