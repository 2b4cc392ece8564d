"""Many comparisons and many looks: Holm's correction, and how a study's error is shared over its looks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 0.8  # share of the error that a look spends of what is left, where it is not known how many follow


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct (..., m) p-values for m comparisons by Holm's step-down method (1979); NaN is none and stays NaN."""
    p = np.asarray(p, dtype=np.float64)
    counts = np.isfinite(p).sum(axis=-1, keepdims=True)
    order = np.argsort(p, axis=-1, kind="stable")  # NaN last
    steps = np.take_along_axis(p, order, axis=-1) * np.maximum(counts - np.arange(p.shape[-1]), 1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0), axis=-1)
    return corrected


def shares_of_looks(seeds: Sequence[int], most: int | None) -> list[float]:
    """Return which share of alpha each look has, at these ascending numbers of seeds; they sum to 1 at the most.

    most: seeds up to which one may look, declared beforehand: a look at n seeds has what n²/most² has grown by since
    the one before (alpha spending, Lan & DeMets 1983, so that early looks are cheap); the last look at `most` seeds
    closes it. None: it is not known how many looks follow, and each takes 4/5 of what is left. As shares of alpha are
    summed, not multiplied, the error of all looks together is at most alpha whatever the test, and however one
    decided to go on.
    """
    if most is None:
        return [AT_ONCE * (1 - AT_ONCE) ** i for i in range(len(seeds))]
    spent = [0.0, *(min(n / most, 1.0) ** 2 for n in seeds)]
    return [later - earlier for earlier, later in itertools.pairwise(spent)]
