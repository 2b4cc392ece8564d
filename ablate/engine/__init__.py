"""The driver: ask, submit, tell. It alone owns the state of a study's trials."""

from ablate.engine.checked_pool import CheckedPool
from ablate.engine.dispatch import Dispatcher
from ablate.engine.loop import Engine
from ablate.engine.plan import Plan
from ablate.engine.progress import Outcome, Progress, Running
from ablate.engine.watchdog import Watchdog

__all__ = ["CheckedPool", "Dispatcher", "Engine", "Outcome", "Plan", "Progress", "Running", "Watchdog"]
