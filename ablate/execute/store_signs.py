"""Signs of life in a store: of workers, and of the driver. Each is an object whose content changes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import time
from typing import Any

import psutil

from ablate.execute.presence import machine, versions
from ablate.execute.store_jobs import PRESENT
from ablate.io.stores import Store

DRIVER = "workers/driver.json"
BEAT_SECONDS = 10.0  # between two signs of life


def facts() -> dict[str, Any]:
    """Return what tells this process from others, and where it runs."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "machine": machine(),
        "pid": process.pid,
        "created": process.create_time(),
        "versions": versions(),
    }


class Sign:
    """A sign of life of this process, which is written anew again and again."""

    def __init__(self, store: Store, name: str, **more: Any) -> None:
        self._store = store
        self._name = name
        self._facts = {**facts(), **more}
        self._beats = itertools.count()

    def beat(self, **more: Any) -> None:
        """Write it anew."""
        content = {**self._facts, "beat": next(self._beats), "time": time.time(), **more}
        self._store.write(self._name, json.dumps(content).encode())

    def end(self) -> None:
        """Remove it."""
        self._store.remove([self._name])


def worker_name() -> str:
    """Return a name for a worker of this process."""
    return f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"


def of_worker(worker: str) -> str:
    """Return the name of a worker's sign."""
    return f"{PRESENT}/{worker}.json"


def read(store: Store, name: str) -> dict[str, Any] | None:
    """Return what a sign says; None where there is none."""
    with contextlib.suppress(ValueError):
        text = store.read(name)
        content = None if text is None else json.loads(text)
        return content if isinstance(content, dict) else None
    return None
