"""Runs one job, from JSON text to JSON text, the same for every executor."""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.kinds.executor import STATUSES, Job, Stop, Stopped, Work

LOOK_SECONDS = 1.0  # between two looks at the stop file


def call(work: str, job: str, stop: Stop) -> str:
    """Run the function `module:function` on a job, and return its report; both are JSON text.

    No exception escapes: an exception, also of the import, and also a KeyboardInterrupt that a trial's own code
    raises, is a report with status `failed`, and so is a report that is not JSON (NaN is not) or has no known status.
    """
    content = json.loads(job)
    name = content["job"]
    try:
        study = Path(content["folder"]).parent.parent if "folder" in content else None
        return _text(_function(work)(with_plugins(content, study), stop), name)
    except Stopped:
        return lost(name, "stopped before it was through")
    except BaseException as error:  # noqa: BLE001 - any end of one trial is a report, the study goes on
        return failed(name, error)


def with_plugins(job: Job, study: Path | None) -> Job:
    """Return the job with the copies that the study's folder keeps of plugin files which this machine has not."""
    if "members" in job:
        return {**job, "members": [with_plugins(member, study) for member in job["members"]]}
    missing = [one for one in job.get("plugins", ()) if one.endswith(".py") and not Path(one).is_file()]
    if not missing or study is None:
        return job
    from ablate.discovery.plugin_files import stored_copy

    copies = {one: str(copy) for one in missing if (copy := stored_copy(study, one)) is not None}
    return {**job, "plugins": [copies.get(one, one) for one in job["plugins"]]}


def stop_file(folder: Path | str) -> Path:
    """Return the stop file of a trial's folder: where it exists, the worker, on whatever machine, is to stop."""
    return Path(folder) / ".stop"


def stop_by_file(job: str) -> Stop:
    """Return a function that says whether the job's stop file exists, by a look a second; never without a folder."""
    folder = json.loads(job).get("folder")
    last_look, exists = float("-inf"), False

    def stop() -> bool:
        nonlocal last_look, exists
        now = time.monotonic()
        if folder is not None and not exists and now - last_look >= LOOK_SECONDS:
            last_look, exists = now, stop_file(folder).exists()
        return exists

    return stop


@contextlib.contextmanager
def stop_by_sigterm() -> Iterator[Stop]:
    """Catch preemption: give a function that says whether SIGTERM came, as batch systems send it to all processes.

    For a worker's main thread; in another one no signal is caught.
    """
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.set())
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    try:
        yield received.is_set
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGTERM, before)


def failed(job: str, error: BaseException) -> str:
    """Return the report on an exception that escaped."""
    lines = traceback.format_exception(error)
    return _text({"status": "failed", "message": _message(error), "traceback": "".join(lines)}, job)


def ended(job: str, message: str, traceback: str) -> str:
    """Return the report on a job whose worker was killed because it hung."""
    return _text({"status": "failed", "message": message, "traceback": traceback}, job)


def lost(job: str, message: str, traceback: str = "") -> str:
    """Return the report on a job whose worker is gone; traceback: where it stood, if that is known."""
    return _text({"status": "lost", "message": message, **({"traceback": traceback} if traceback else {})}, job)


def oom(job: str, message: str) -> str:
    """Return the report on a job that was ended because the machine ran out of memory."""
    return _text({"status": "oom", "message": message}, job)


def _function(work: str) -> Work:
    module, _, name = work.partition(":")
    function: Work = getattr(importlib.import_module(module), name)
    return function


def _message(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(report: Any, job: str) -> str:
    if not isinstance(report, dict) or report.get("status") not in STATUSES:
        raise TypeError(f"a report is a mapping whose status is one of {', '.join(STATUSES)}, not {report!r:.200}")
    return json.dumps({**report, "job": job}, allow_nan=False)
