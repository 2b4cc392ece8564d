"""Progress messages of slow operations ("still building the network …"): a plugin's own code may wait for something.

Whoever runs a component's code in the driver's own process says so by `doing`; whoever has someone to tell, the
command line or a notebook, wraps the whole in `telling`. Nothing is ended by it: code in this process cannot be, but by
Ctrl-C. Trials run in workers, whose silence `executor.patience` ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SECONDS = 5.0  # that most things may take before it is said what
MOST = 600.0  # seconds between two tellings of the same; until then each time twice as long as before

# What is done now and how often SECONDS it may take, innermost last; None: nobody listens.
_doing: ContextVar[list[tuple[str, float]] | None] = ContextVar("doing", default=None)


@contextmanager
def doing(what: str, times: float = 1.0) -> Iterator[None]:
    """Mark what is done within a `with`: `building the network of adaln`. times: how often `SECONDS` it may take."""
    activities = _doing.get()
    if activities is None:
        yield
        return
    activities.append((what, times))
    try:
        yield
    finally:
        activities.pop()


@contextmanager
def telling(say: Callable[[str], None]) -> Iterator[None]:
    """Report, within a `with`, whatever `doing` takes longer than expected, from another thread, again and again."""
    if _doing.get() is not None:
        yield
        return
    activities: list[tuple[str, float]] = []
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(activities, over, say), name="ablate-patient", daemon=True)
    token = _doing.set(activities)
    watch.start()
    try:
        yield
    finally:
        _doing.reset(token)
        over.set()
        watch.join()


def _watch(activities: list[tuple[str, float]], over: threading.Event, say: Callable[[str], None]) -> None:
    """Poll what is done now, and report it. Two turns of the same that follow each other within a look are one."""
    last: tuple[tuple[str, float], ...] = ()
    since = due = 0.0
    while not over.wait(min(0.5, SECONDS / 4)):
        now, current = time.monotonic(), tuple(activities)
        if current != last:
            last, since, due = current, now, now + SECONDS * (current[-1][1] if current else 1.0)
        elif current and now >= due:
            say(f"still {current[-1][0]} …" + (f" ({_duration(now - since)})" if now - since >= 2 * SECONDS else ""))
            due = now + min(MOST, now - since)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
