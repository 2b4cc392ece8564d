"""`ablate worker`: run trials of a study, beside its driver, from any shell of any machine that has the folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ablate.cli.outcome import SOME_FAILED, complain

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # the last as batch systems send it before their time is over


def worker(
    folder: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="A study's folder, or its URL in a store: s3://bucket/folder.")
    ],
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, metavar="N", help="CPU threads of a trial; torch chooses by default.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, max=1e7, metavar="SECONDS", help="How long it waits without a driver and work.")
    ] = 600.0,
) -> None:
    """Run trials of a study until there are no more; as many workers as you like, on all machines that reach it.

    The study's driver is `ablate run STUDY --out DIR --executor workers`. What a worker that dies was at is taken over
    by another, from its checkpoint. SIGTERM and SIGUSR1 let it write a checkpoint first.
    """
    from ablate.errors import InputError
    from ablate.execute.joined import JoinedWorker, exchange
    from ablate.study import lock

    place = exchange(folder, complain)
    if isinstance(place, Path) and lock.read(place) is None:
        begin = f"begin one there: ablate run STUDY --out {folder} --executor workers"
        raise InputError(f"is no study's folder; {begin}", folder)
    joined = JoinedWorker(place, threads, wait, complain)
    with _stopping(joined.stop):
        tally = joined.run()
    complain(f"{tally.done} done, {tally.failed} failed" + (f", {tally.lost} taken over" if tally.lost else ""))
    if tally.stopped:
        raise KeyboardInterrupt
    if tally.failed:
        raise typer.Exit(SOME_FAILED)


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Stop in good order at a signal; at the second one of Ctrl-C at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()
        stop()

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
