"""fidelity `freeze_thaw`: the paused candidate goes on that promises most by its learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from ablate.api import Fidelity, Rung

Array = NDArray[np.float64]

LEAST = 3  # candidates at the first rung, before which there is nothing to compare
GO_ON, STAY = 0.5, 0.8  # so many went on from the first rung and from later ones, on the recorded table
MARGIN = 0.1  # by how much of the range of costs the reference lies beyond the dearest candidate


def _ascending(shares: tuple[float, ...]) -> tuple[float, ...]:
    if list(shares) != sorted(set(shares)):
        raise ValueError(f"shares of the budget ascend, and these do not: {', '.join(f'{s:g}' for s in shares)}")
    return shares


Share = Annotated[float, Field(gt=0, lt=1)]
Shares = Annotated[tuple[Share, ...], Field(min_length=1, max_length=50), AfterValidator(_ascending)]


class FreezeThaw(Fidelity):
    """Freeze-thaw Bayesian optimisation (Swersky et al. 2014; ifBO, Rakotoarison et al. 2024) of the front.

    Every candidate pauses at each share in `at`. The one goes on whose value at the end of the budget, extrapolated
    from its learning curve, is expected to enlarge the hypervolume of the front most (log quality, log cost); a new one
    is tried first where that is expected of it. Curves are power laws with a noise at each share, fitted to all
    together. When the design has no more candidates, it ends once none is expected to enlarge the front by `gain`.

    Without an objective of cost it is the expected improvement on the best. Several measured objectives count by the
    mean of their standardised values. What is not positive is taken as it is, not by its logarithm.
    """

    name = "freeze_thaw"

    at: Shares = (0.1111, 0.2, 0.3333, 0.6)  # shares of the budget at which all pause
    gain: Annotated[float, Field(gt=0, lt=1)] = 1e-4  # the least enlargement of the front, relative to it

    def rungs(self) -> tuple[float, ...]:
        """Return `at`."""
        return self.at

    def promote(self, rungs: Sequence[Rung], closing: bool) -> int | None:
        """Return the paused candidate with the largest expected improvement of the front."""
        import moocore

        from ablate_zoo.fidelity._extrapolation import extrapolated, improvements

        paused = _paused(rungs)
        if not paused.any() or (len(paused) < LEAST and not closing):
            return None
        ends = extrapolated(np.array([*self.at, 1.0]), _points(rungs))
        cost, beyond = _cost(rungs[0])
        front = np.column_stack([cost, ends.mean])[_to_the_end(rungs)]
        reference = (beyond, float(ends.mean.max()))
        expected = improvements(cost, ends.mean, ends.deviation, front, reference)
        best = int(np.argmax(np.where(paused, expected, -np.inf)))
        if closing:
            enough = not len(front) or expected[best] >= self.gain * moocore.hypervolume(front, ref=reference)
            return int(rungs[0].numbers[best]) if enough else None
        alike = np.ones(len(cost))
        new = improvements(cost, ends.new_mean * alike, ends.new_deviation * alike, front, reference)
        return int(rungs[0].numbers[best]) if expected[best] >= new.mean() else None

    def share(self, candidates: int) -> float:
        """Return a guess: how many go on depends on what is measured."""
        stretches = [b - a for a, b in pairwise((*self.at, 1.0))]
        return self.at[0] + sum(stretch * GO_ON * STAY**i for i, stretch in enumerate(stretches))


def _paused(rungs: Sequence[Rung]) -> NDArray[np.bool_]:
    """Return (n,) which candidates of the first rung wait at the last one that they have come to."""
    waits = np.zeros(len(rungs[0].numbers), dtype=bool)
    for rung in rungs:
        ours, theirs = _places(rungs[0], rung)
        waits[ours] = ~rung.promoted[theirs]
    return waits


def _to_the_end(rungs: Sequence[Rung]) -> NDArray[np.bool_]:
    """Return (n,) which candidates have come to the end, or are on the way there from the last rung."""
    gone = np.zeros(len(rungs[0].numbers), dtype=bool)
    ours, theirs = _places(rungs[0], rungs[-1])
    gone[ours] = rungs[-1].promoted[theirs]
    return gone if rungs[0].end is None else gone & ~np.isinf(rungs[0].end).any(axis=1)


def _places(first: Rung, rung: Rung) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the candidates that are at both rungs stand at the first, and at the other."""
    _, ours, theirs = np.intersect1d(first.numbers, rung.numbers, assume_unique=True, return_indices=True)
    return ours, theirs


def _points(rungs: Sequence[Rung]) -> Array:
    """Return (n, rungs + 1) one number a candidate and share, the end last; NaN where it has not come, or has none."""
    first = rungs[0]
    values = np.full((len(first.numbers), len(rungs) + 1, first.quality.shape[1]), np.nan)
    for i, rung in enumerate(rungs):
        ours, theirs = _places(first, rung)
        values[ours, i] = rung.quality[theirs]
    if first.end is not None:
        values[:, -1] = first.end
    values[~np.isfinite(values)] = np.nan
    by_objective = [_logarithms(values[..., j]) for j in range(values.shape[-1])]
    if len(by_objective) == 1:
        return by_objective[0]
    return np.asarray(np.mean([(v - v[:, 0].mean()) / (v[:, 0].std() or 1.0) for v in by_objective], axis=0))


def _cost(rung: Rung) -> tuple[Array, float]:
    """Return (n,) costs, and the one up to which the hypervolume counts."""
    if not rung.cost.shape[1]:
        return np.zeros(len(rung.numbers)), 1.0
    cost = _logarithms(rung.cost[:, 0])
    return cost, float(cost.max() + MARGIN * (np.ptp(cost) or 1.0))


def _logarithms(values: Array) -> Array:
    return np.log(values) if np.nanmin(values) > 0 else values
