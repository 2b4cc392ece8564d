"""Work functions that end in every way a trial can end; workers import this module by name."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def work(job: dict[str, Any], stop: Any) -> Any:
    """Do what `job["do"]` says."""
    return globals()[f"_{job['do']}"](job, stop)


def get_ready() -> None:
    """Say in a file that somebody asked, print what nobody may see, and fail, which is no matter."""
    if "READY_FOR_TEST" in os.environ:
        Path(os.environ["READY_FOR_TEST"]).write_text(str(os.getpid()))
    print("getting ready", flush=True)
    raise RuntimeError


def _echo(job, stop):
    return {"job": job["job"], "status": "done", "got": job, "pid": os.getpid(), "gave": (1, 2.5, None, "é")}


def _raise(job, stop):
    raise ZeroDivisionError("seven by nought")


def _exit(job, stop):
    raise SystemExit(3)


def _interrupt(job, stop):
    raise KeyboardInterrupt


def _cancel(job, stop):
    import asyncio

    raise asyncio.CancelledError


def _grow(job, stop):
    """Take memory, and hold it."""
    held = bytearray(os.urandom(1 << 20) * (job["bytes"] >> 20))
    time.sleep(job["seconds"])
    return {"status": "done", "bytes": len(held)}


def _segfault(job, stop):
    import ctypes

    ctypes.string_at(0)


def _leave(job, stop):
    os._exit(7)


def _print(job, stop):
    print("from Python", flush=True)
    os.system("echo from a child; echo and its errors >&2")
    return {"status": "done"}


def _report(job, stop):
    return job["report"]


def _nan(job, stop):
    return {"status": "done", "loss": float("nan")}


def _object(job, stop):
    return {"status": "done", "loss": object()}


def _sleep(job, stop):
    """Tell where it runs, then be busy until it is asked to stop."""
    from ablate.kinds.executor import Stopped

    Path(job["file"]).write_text(str(os.getpid()))
    end = time.monotonic() + job["seconds"]
    while time.monotonic() < end:
        time.sleep(0.01)
        if stop():
            Path(job["file"]).with_suffix(".stopped").touch()
            raise Stopped
    return {"status": "done"}


def _until(job, stop):
    while not Path(job["file"]).exists():
        time.sleep(0.01)
    return {"status": "done"}


def _spin(job, stop):
    """Hold the interpreter, without ever asking."""
    Path(job["file"]).write_text(str(os.getpid()))
    end = time.monotonic() + job["seconds"]
    while time.monotonic() < end:
        pass
    return {"status": "done"}


def _threads(job, stop):
    return {"status": "done", "threads": job["threads"], "omp": os.environ.get("OMP_NUM_THREADS")}


def _mark(job, stop):
    """Say in a file that it began, wait until that is enough, and leave a result in its folder."""
    from ablate.kinds.executor import Stopped

    mark = Path(job["file"])
    with mark.open("a") as file:
        file.write(f"{os.getpid()} ")
    while not mark.with_suffix(".enough").exists():
        time.sleep(0.01)
        if stop():
            raise Stopped
    (Path(job["folder"]) / "result").write_text(str(os.getpid()))
    return {"status": "done", "pid": os.getpid()}


def _node(job, stop):
    """The node of the Ray cluster on which it runs, as its own resource calls it."""
    import ray

    time.sleep(job.get("seconds", 0))
    ids = ray.get_runtime_context().get_node_id()
    return {"status": "done", "node": next(n for n in ray.nodes() if n["NodeID"] == ids)["Resources"]}


def _variable(job, stop):
    """A variable of the worker's environment."""
    return {"status": "done", "value": os.environ.get(job["variable"])}
