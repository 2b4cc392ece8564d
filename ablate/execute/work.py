"""One job, from JSON text to JSON text, the same whichever executor runs it."""

from __future__ import annotations

import importlib
import json
import traceback
from typing import Any

from ablate.kinds.executor import STATUSES, Stop, Stopped, Work


def call(work: str, job: str, stop: Stop) -> str:
    """The report of the function `module:function` on a job, both as JSON text.

    Nothing but KeyboardInterrupt gets out: an exception, also of the import, is a report with status
    `failed`, and so is a report that is not JSON (NaN is not) or has no known status.
    """
    asked = json.loads(job)["job"]
    try:
        return _text(_function(work)(json.loads(job), stop), asked)
    except Stopped:
        return lost(asked, "stopped before it was through")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any end of one trial is a report, the study goes on
        return failed(asked, error)


def failed(job: str, error: BaseException) -> str:
    """The report on an exception that escaped."""
    lines = traceback.format_exception(error)
    return _text({"status": "failed", "message": _message(error), "traceback": "".join(lines)}, job)


def lost(job: str, message: str) -> str:
    """The report on a job whose worker is gone."""
    return _text({"status": "lost", "message": message}, job)


def oom(job: str, message: str) -> str:
    """The report on a job that was ended because the machine ran out of memory."""
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
