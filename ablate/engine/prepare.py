"""The preparation: what all trials share (cached data, features of the reference) is computed before the first one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablate.engine.checked_pool import CheckedPool
from ablate.engine.dispatch import TICK
from ablate.errors import InputError
from ablate.kinds.executor import Job
from ablate.runtime.patient import doing
from ablate.worker.reports import raise_if_fatal


def prepare(pool: CheckedPool, job: Job, cache: Path, tick: Callable[[], None]) -> dict[str, Any]:
    """Prepare the data of a trial in a worker, and return the keys that every job gets by it (`data_hash`).

    Nothing else may run. `tick` is called while it is waited for. Raises InputError where the data cannot be prepared,
    OSError where the disk of the cache is full.
    """
    pool.submit({**job, "job": "prepare", "prepare": True})
    metrics = sorted({f"metric {metric['type']!r}" for metric in job["evaluation"]["metrics"]})
    parts = ", ".join([f"data {job['data']['type']!r}", *metrics])
    with doing(f"preparing what all trials share in a worker: {parts}", 12):
        while not (reports := pool.wait(TICK)):
            tick()
    (report,) = reports
    if report["status"] != "done":
        raise_if_fatal(report, cache)
        message = report.get("message", report["status"])
        raise InputError(f"the data could not be prepared: {message}\n{report.get('traceback') or ''}".rstrip())
    return {"data_hash": report["data_hash"]} if "data_hash" in report else {}
