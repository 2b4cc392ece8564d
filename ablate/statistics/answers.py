"""Answers to comparisons: better, worse, equivalent or open, with one error for all of them and for all looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablate.kinds.analysis import Analysis, Compared, sign_flip_p
from ablate.statistics.correction import holm

Floats = NDArray[np.float64]


class Look(NamedTuple):
    """One look at the results."""

    seeds: NDArray[np.bool_]  # (n,) which seeds it had
    share: float  # of alpha, that it may spend


@dataclass(frozen=True)
class Answers:
    """What m comparisons of each of b studies come to, (b, m); NaN, 0 and False where there is nothing to compare.

    A claim holds where its corrected p is below alpha: over all comparisons and looks of a study, the chance of any
    wrong claim of a difference is at most alpha, and so is that of any wrong claim of equivalence.
    """

    difference: Floats  # first − second, at the last look
    error: Floats  # its standard error
    low: Floats  # its interval of 1 − alpha for all comparisons at once, at the last look
    high: Floats
    p: Floats  # of each comparison by itself, at the last look
    corrected: Floats  # p corrected for comparisons (Holm) and looks
    equivalent: Floats  # corrected p of a difference beyond ±delta; NaN without delta
    sign: NDArray[np.int64]  # of the difference at the look that counts


def answers(
    test: Analysis,
    values: Floats,
    pairs: NDArray[np.int64],
    alpha: float = 0.05,
    delta: float | None = None,
    looks: Sequence[Look] | None = None,
    ranked: NDArray[np.bool_] | None = None,
) -> Answers:
    """Compare (m, 2) pairs of rows of (b, k, n) values by a test; NaN where there is no value.

    delta: differences within ±delta are of no weight; equivalence is tested by two one-sided tests (TOST, Schuirmann
    1987). looks: all that there were, the last one last; one at all seeds by default. A claim that an early look made
    is kept: the corrected p is the smallest over the looks, each divided by its share of alpha. ranked: (k,) of
    candidates that had a run without a number but with an outcome, worst of all (it diverged), given as inf in
    values: their comparisons are answered by `rank_p`, not by the test.
    """
    given = [Look(np.ones(values.shape[2], dtype=bool), 1.0)] if looks is None else list(looks)
    shape = (len(values), len(pairs))
    corrected, equivalent = np.full(shape, np.nan), np.full(shape, np.nan)
    sign = np.zeros(shape, dtype=np.int64)
    for look in given:
        seen = values[:, :, look.seeds]
        compared, p = _one_look(test, seen, pairs, ranked)
        claimed = _over(holm(p), look.share)
        counts = claimed < np.where(np.isfinite(corrected), corrected, np.inf)
        corrected = np.where(counts, claimed, corrected)
        sign = np.where(counts, np.sign(np.nan_to_num(compared.difference)).astype(np.int64), sign)
        if delta is not None:
            beyond = _over(holm(_beyond(test, seen, pairs, compared, delta, ranked)), look.share)
            equivalent = np.fmin(equivalent, beyond)
    comparisons = np.maximum(np.isfinite(p).sum(axis=1, keepdims=True), 1)
    half = compared.error * _critical(compared, comparisons, alpha * given[-1].share)
    numeric = (
        compared.difference if ranked is None else np.where(_is_ranked(pairs, ranked), np.nan, compared.difference)
    )
    return Answers(numeric, compared.error, numeric - half, numeric + half, p, corrected, equivalent, sign)


def rank_p(first: Floats, second: Floats) -> tuple[float, float]:
    """Return p and the mean rank of (n,) paired outcomes where some are inf, worse than any number; NaN is no pair.

    Wilcoxon's signed ranks (1945), in their permutation distribution: |differences| are ranked, a pair of which one run
    has no number above all others; of two such the difference is 0, which has no rank.
    """
    with np.errstate(invalid="ignore"):
        delta = np.where(np.isinf(first) & np.isinf(second), 0.0, first - second)
    delta = delta[~np.isnan(delta)]
    _, place, counts = np.unique(np.abs(delta), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # midranks
    ranks = np.sign(delta) * middle[place]
    return float(sign_flip_p(ranks)), float(ranks.mean()) if len(ranks) else np.nan


def _one_look(
    test: Analysis, values: Floats, pairs: NDArray[np.int64], ranked: NDArray[np.bool_] | None
) -> tuple[Compared, Floats]:
    """Return what the test says, and p with the comparisons that are answered by ranks."""
    if ranked is None or not ranked.any():
        compared = test.compare(values, pairs)
        return compared, compared.p
    compared = test.compare(np.where(ranked[:, None], np.nan, values), pairs)
    p, difference = compared.p.copy(), compared.difference.copy()
    for i in np.flatnonzero(_is_ranked(pairs, ranked)):
        for j, study in enumerate(values):
            p[j, i], difference[j, i] = rank_p(study[pairs[i, 0]], study[pairs[i, 1]])
    return Compared(difference, compared.error, p, compared.critical), p


def _is_ranked(pairs: NDArray[np.int64], ranked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(ranked[pairs].any(axis=1))


def _beyond(
    test: Analysis,
    values: Floats,
    pairs: NDArray[np.int64],
    compared: Compared,
    delta: float,
    ranked: NDArray[np.bool_] | None,
) -> Floats:
    """Return the p of each comparison that the difference is beyond ±delta: the larger of two one-sided tests."""
    numbers = values if ranked is None else np.where(ranked[:, None], np.nan, values)
    sides = []
    for bound in (-delta, delta):
        half = test.compare(numbers, pairs, bound).p / 2
        inside = (compared.difference - bound) * np.sign(bound) < 0
        sides.append(np.where(inside, half, 1 - half))
    beyond = np.maximum(*sides)
    return beyond if ranked is None else np.where(_is_ranked(pairs, ranked), np.nan, beyond)


def _critical(compared: Compared, comparisons: NDArray[np.int64], level: float) -> Floats:
    """Return (b, m) critical values at level / comparisons of each study."""
    out = np.full(compared.difference.shape, np.nan)
    for count in np.unique(comparisons):
        rows = comparisons[:, 0] == count
        out[rows] = compared.critical(level / int(count))[rows]
    return out


def _over(p: Floats, share: float) -> Floats:
    """Divide p-values by a look's share of alpha; 1 at the most, and without a share."""
    return np.minimum(p / share, 1.0) if share > 0 else np.where(np.isnan(p), np.nan, 1.0)
