"""Waiting for reports, and for anything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ablate.kinds.executor import Pool, Report

PATIENCE = 550.0  # seconds: longer than anything takes on a busy machine, shorter than what ends a test


def collect(pool: Pool, count: int, seconds: float = PATIENCE) -> dict[str, Report]:
    """The next `count` reports, by job."""
    end, found = time.monotonic() + seconds, {}
    while len(found) < count:
        assert time.monotonic() < end, f"only {sorted(found)}"
        found.update({report["job"]: report for report in pool.wait(0.1)})
    return found


def run(pool: Pool, **job: Any) -> Report:
    """The report of one job."""
    pool.submit({"job": "one", **job})
    return collect(pool, 1)["one"]


def until(true: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for something; how long it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, what
        time.sleep(0.05)
    return time.monotonic() - begun


def until_it_holds(page: Any, script: str) -> None:
    """Wait until JavaScript is true in a browser's page. Playwright's own calls eval, which our pages forbid."""

    def holds() -> bool:
        try:
            return bool(page.evaluate(script))
        except Exception:  # noqa: BLE001 - what it speaks of is not there yet
            return False

    until(holds, PATIENCE, script)
