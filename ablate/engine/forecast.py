"""Estimate of the time left: learnt from a study's own trials, each weighed by the flops that it has to compute."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from ablate.candidates.candidate import Candidate
from ablate.engine.contained import contained
from ablate.engine.progress import Running
from ablate.kinds.design import Assignment
from ablate.runtime.isolation import TURNS

ENOUGH = 0.1  # of a training: from there on its speed tells of the whole
PATIENCE = 0.2  # seconds to wait for the end of another's step
SOON = 0.05  # of a trial: the least that remains of one that runs


class Forecast:
    """Estimates the seconds left. A trial of f flops takes T + a + b·f seconds; a and b are fitted to ended trials.

    T are the seconds that every trial trains where the budget is time, else 0; f then counts what comes after.

    candidate: of an assignment; flops: of a trial of a candidate. Both may raise what a plugin raises.
    slots: trials at a time.
    """

    def __init__(
        self,
        candidate: Callable[[Assignment], Candidate],
        flops: Callable[[Candidate], float],
        slots: int,
        clock: Callable[[], float] = time.monotonic,
        training: float = 0.0,
    ) -> None:
        self._candidate = candidate
        self._flops = flops
        self.slots = slots
        self._clock = clock
        self._training = training
        self._candidates: dict[str, float | None] = {}  # by assignment; None: it cannot be counted
        self._trials: dict[str, float | None] = {}
        self._begun: dict[str, float] = {}

    def opened(self, candidate: Candidate, trials: Sequence[str]) -> None:
        """Note a new candidate and its trials."""
        self._trials.update(dict.fromkeys(trials, self._count(lambda: candidate)))

    def begun(self, trial: str) -> None:
        """Note the time at which a worker got a trial."""
        self._begun[trial] = self._clock()

    def foresee(self, unasked: Sequence[Assignment]) -> None:
        """Count one candidate that nobody has counted yet: one at a time, because the driver is waited for."""
        for assignment in unasked:
            key = _key(assignment)
            if key not in self._candidates:
                with TURNS.between(PATIENCE) as free:  # a job of this process runs components' code too
                    if free:
                        self._candidates[key] = self._count(partial(self._candidate, assignment))
                return

    def left(
        self,
        records: Mapping[str, Mapping[str, Any]],
        running: Sequence[Running],
        queued: Collection[str],
        unasked: Sequence[Assignment],
        candidates: int,
        seeds: int,
    ) -> float | None:
        """Return the seconds until everything is measured; None while no trial tells how fast this machine is.

        `candidates` of `seeds` trials each are still to be asked for; of those, `unasked` are known, and
        what the others compute is taken to be what the average one does.
        """
        now = self._clock()
        seconds = self._fitted(records, running, now)
        if seconds is None:
            return None
        work = [self._remaining(trial, seconds(self._trials[trial.trial]), now) for trial in running]
        work += [seconds(self._trials[trial]) for trial in queued]
        listed = [seconds(self._candidates.get(_key(assignment))) for assignment in unasked]
        average = statistics.fmean(listed or map(seconds, self._trials.values()))
        work += seeds * [*listed, *[average] * (candidates - len(listed))]
        return max(sum(work) / self.slots, max(work, default=0.0))  # the last one works alone

    def _fitted(
        self, records: Mapping[str, Mapping[str, Any]], running: Sequence[Running], now: float
    ) -> Callable[[float | None], float] | None:
        """Return the linear fit: a function from a trial's flops to its seconds."""
        training = self._training
        spent = [(self._trials.get(trial), float(record["seconds"]) - training) for trial, record in records.items()]
        if not spent and training:
            return lambda flops: training  # and what comes after it, which nobody knows yet
        if not spent:
            spent = [
                (self._trials[trial.trial], (now - self._begun[trial.trial]) / trial.share)
                for trial in running
                if trial.share >= ENOUGH
            ]
        if not spent:
            return None
        average = statistics.fmean(seconds for _, seconds in spent)
        points = [(flops, seconds) for flops, seconds in spent if flops is not None]
        if not points:
            return lambda flops: training + average
        most = max(flops for flops, _ in points)
        fixed, each = _line([flops / most for flops, _ in points], [seconds for _, seconds in points])
        return lambda flops: training + (average if flops is None else fixed + each * flops / most)

    def _remaining(self, trial: Running, total: float, now: float) -> float:
        """Return the seconds that a running trial still takes; one that takes longer than `total` is nearly done."""
        if trial.limit is None:
            return max(total - (now - self._begun[trial.trial]), SOON * total)
        after = total - self._training
        return max(trial.limit - trial.seconds, 0.0) + (after if after > 0 else SOON * total)

    def _count(self, candidate: Callable[[], Candidate]) -> float | None:
        try:
            with contained():
                return self._flops(candidate()) or None
        except Exception:  # noqa: BLE001 - a plugin's own code; who takes the candidate up tells what it raised
            return None


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Fit y = a + b·x by non-negative least squares, and return a and b; through the origin where all x are alike."""
    import numpy as np
    from scipy.optimize import nnls

    if len(set(x)) == 1:
        return 0.0, statistics.fmean(y) / x[0]
    coefficients, _ = nnls(np.column_stack([np.ones(len(x)), x]), np.asarray(y))
    return float(coefficients[0]), float(coefficients[1])


def _key(assignment: Assignment) -> str:
    return json.dumps(assignment, sort_keys=True)
