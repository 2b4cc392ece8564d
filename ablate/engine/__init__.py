"""The driver of a study: which trial runs when, and which runs again; the ledger of candidates and scores."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.engine.checked_pool import CheckedPool
    from ablate.engine.dispatch import Dispatcher
    from ablate.engine.loop import Engine
    from ablate.engine.plan import Plan
    from ablate.engine.progress import Outcome, Progress, Running
    from ablate.engine.watchdog import Watchdog

__all__ = ["CheckedPool", "Dispatcher", "Engine", "Outcome", "Plan", "Progress", "Running", "Watchdog"]

# Optuna and torch take seconds to import, and a study is read and checked without them: each name waits until it is
# asked for.
_HOME = {
    "CheckedPool": "checked_pool",
    "Dispatcher": "dispatch",
    "Engine": "loop",
    "Plan": "plan",
    "Outcome": "progress",
    "Progress": "progress",
    "Running": "progress",
    "Watchdog": "watchdog",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
