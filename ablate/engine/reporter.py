"""The progress reporter of a run: collects lines for the user, estimates the time left, and gives out snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from ablate.engine.dispatch import TICK, Dispatcher
from ablate.engine.forecast import Forecast
from ablate.engine.ledger import Ledger
from ablate.engine.packs import members
from ablate.engine.plan import Plan
from ablate.engine.progress import Outcome, Progress, running
from ablate.worker.messages import Record, TrialJob

SHARE = 0.05  # of the driver's time, at the most, that goes into snapshots: they read a file of each running trial


class ProgressReporter:
    """Calls `watch` with a snapshot of the study's progress, every quarter of a second at the most.

    slots: gives how many trials run at a time, by now.
    """

    def __init__(self, plan: Plan, watch: Callable[[Progress], None], slots: Callable[[], int]) -> None:
        self.lines: list[str] = []  # since the last snapshot
        self.forecast = Forecast(
            plan.candidate, plan.flops, slots(), training=60 * (plan.trial_settings.budget.minutes or 0.0)
        )
        self._slots = slots
        self._plan = plan
        self._watch = watch
        self._due = 0.0  # time of the next snapshot
        rungs = plan.fidelity is not None and plan.fidelity.rungs()
        self._open_ended = bool(rungs) or (
            plan.seeding is not None and plan.seeding.looks(plan.design.seeds) is not None
        )

    def say(self, line: str) -> None:
        """Add a line to the next snapshot."""
        self.lines.append(line)

    def report(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher[TrialJob],
        queued: Sequence[str],
        trials: int,
        records: Mapping[str, Record],
        outcome: Outcome,
        final: bool = False,
        paused: int = 0,
    ) -> None:
        """Give out a snapshot, where one is due or it is the final one.

        queued: trials that wait. trials: how many there are so far; paused: of them. How many of those go on is not
        known, so the time left is not estimated where a fidelity pauses trials, nor where a seeding adds some.
        """
        now = time.monotonic()
        if not final and now < self._due:
            return
        candidates, seeds = ledger.remaining(), self._plan.design.seeds
        lines, self.lines = tuple(self.lines), []
        jobs = (job for together in dispatcher.running.values() for job in members(together))
        at_work = tuple(running(job, self._plan.names) for job in jobs)
        self._due = now + max(TICK, (time.monotonic() - now) / SHARE)
        seconds_left = None
        if not final and not self._open_ended:
            self.forecast.slots = self._slots()
            unasked = ledger.unasked()
            self.forecast.foresee(unasked)
            seconds_left = self.forecast.left(records, at_work, queued, unasked, candidates, seeds)
        self._watch(
            Progress(
                trials + candidates * seeds,
                len(records),
                outcome.failed,
                outcome.diverged,
                at_work,
                seconds_left,
                records,
                lines,
                self._plan.names,
                paused,
                self._plan.name,
            )
        )
