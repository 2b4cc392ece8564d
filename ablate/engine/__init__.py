"""The driver of a study: which trial runs when, and which runs again; the ledger of candidates and scores."""

from ablate.engine.checked_pool import CheckedPool
from ablate.engine.dispatch import Dispatcher
from ablate.engine.loop import Engine
from ablate.engine.plan import Plan
from ablate.engine.progress import Outcome, Progress, Running
from ablate.engine.watchdog import Watchdog

__all__ = ["CheckedPool", "Dispatcher", "Engine", "Outcome", "Plan", "Progress", "Running", "Watchdog"]
