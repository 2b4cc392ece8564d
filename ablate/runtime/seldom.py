"""Collecting garbage seldom, where many short-lived objects are made and nearly all of them go by themselves."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

OBJECTS = 100_000  # new ones between two collections of the youngest; Python's own are a few hundred


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Let the collector look on seldom; networks of a thousand modules each set it off again and again."""
    before = gc.get_threshold()
    gc.set_threshold(max(OBJECTS, before[0]) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
