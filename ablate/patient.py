"""Work that may take long, or for ever, is named while it does: a plugin's own code may wait for something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

SECONDS = 5.0  # that one candidate may take before it is said which


@contextmanager
def naming(say: Callable[[str], None], candidate: str) -> Iterator[None]:
    """Within it a candidate's network is built; told from another thread if that takes longer than one would expect."""
    timer = Timer(SECONDS, say, [f"still building the network of {candidate} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
