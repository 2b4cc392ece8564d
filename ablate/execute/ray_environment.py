"""What Ray finds in this process while it connects: environment variables, 127.0.0.1, handlers."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables, for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def loopback() -> Iterator[None]:
    """Keep 127.0.0.1, which Ray else swaps for an address that others can reach (except on macOS, Windows).

    Its switch is an environment variable, and a constant where the program has imported ray already.
    """
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def same_handlers() -> Iterator[None]:
    """Keep the handler of SIGTERM and `breakpoint()` as they are: Ray puts its own in place of both."""
    handler, debugger = signal.getsignal(signal.SIGTERM), os.environ.get("PYTHONBREAKPOINT")
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
        os.environ.pop("PYTHONBREAKPOINT", None)
        if debugger is not None:
            os.environ["PYTHONBREAKPOINT"] = debugger
