"""The two-way model, value = candidate + seed + error: its differences, and the deviations of its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate_zoo.analysis._spread import Common, Floats, Rows, common

ALIKE = 1e-9  # residuals below this share of the values are rounding


@dataclass(frozen=True)
class TwoWay:
    """The least-squares fit to b studies of k candidates, for m differences; NaN where one is not determined.

    `pooled` and `own` are variances of the difference, not of one value.
    """

    difference: Floats  # (b, m)
    pooled: Floats  # (b, m) with the common deviation
    df: Floats  # (b, 1) of it
    own: Floats  # (b, m) with a deviation for each candidate: Grubbs 1948, never below its own residuals'
    own_df: Floats  # (b, m) of it, as Satterthwaite 1946 counts them
    shared: Floats  # (b, m) seeds that both candidates have
    exact: NDArray[np.bool_]  # (b, 1) whether all residuals are rounding: nothing is known of the spread
    common: Common

    def noisy(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(b, m) whether one of the two was left out of the common deviation."""
        return np.asarray(self.common.noisy[:, pairs].any(axis=2))


def fit(values: Floats, pairs: NDArray[np.int64], check: float = 0.0) -> TwoWay:
    """Fit (b, k, n) values, NaN where missing, and return the differences first − second of (m, 2) pairs of rows.

    check: the level at which a candidate is shown to be noisier than the others, and left out of the common deviation.
    """
    whole = np.isfinite(values).all(axis=(1, 2))
    if whole.all():
        return _complete(values, pairs, check)
    if len(values) > 1:
        return _joined([fit(one[None], pairs, check) for one in values])
    return _incomplete(values[0], pairs, check)


def _joined(fits: list[TwoWay]) -> TwoWay:
    def all_of(parts: Sequence[TwoWay | Common], *names: str) -> dict[str, Any]:
        return {name: np.concatenate([getattr(one, name) for one in parts]) for name in names}

    commons = [one.common for one in fits]
    shared = Common(**all_of(commons, "variance", "df", "noisy", "p"), freedom=commons[0].freedom)
    return TwoWay(**all_of(fits, "difference", "pooled", "df", "own", "own_df", "shared", "exact"), common=shared)


def _complete(values: Floats, pairs: NDArray[np.int64], check: float) -> TwoWay:
    b, k, n = values.shape
    first, second = pairs.T
    means = values.mean(axis=2)
    centred = values - means[:, :, None]
    one = common(Rows(centred, None, np.full(k, float(n))), check)
    squares = ((centred - centred.mean(axis=1, keepdims=True)) ** 2).sum(axis=2)  # (b, k) of the fit to all
    total = squares.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        if k > 2 and n > 1:
            grubbs = (k * squares - total / (k - 1)) / ((n - 1) * (k - 2))
            each = np.maximum(grubbs, squares / (n - 1))
            own = (each[:, first] + each[:, second]) / n
            own_df = (own * n) ** 2 * (n - 1) / (each[:, first] ** 2 + each[:, second] ** 2)
        else:  # of one difference, what the two contribute cannot be told apart
            own, own_df = (np.repeat(x, len(pairs), axis=1) for x in (2 * one.variance / n, one.df))
    shared = np.full((b, len(pairs)), float(n))
    exact = total <= (ALIKE * np.abs(values).max(axis=(1, 2), initial=0.0)[:, None]) ** 2 * k * n
    pooled = np.repeat(2 * one.variance / n, len(pairs), axis=1)
    return TwoWay(means[:, first] - means[:, second], pooled, one.df, own, own_df, shared, exact, one)


def _incomplete(y: Floats, pairs: NDArray[np.int64], check: float) -> TwoWay:
    """Fit one study's (k, n) values, some of them missing: seeds by the reduced normal equations, then candidates."""
    there = np.isfinite(y)
    k, n = y.shape
    first, second = pairs.T
    counts = there.sum(axis=1).astype(float)  # (k,)
    w, y = there.astype(float), np.where(there, y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = y.sum(axis=1) / counts
        share = np.nan_to_num(w / counts[:, None])
        centred = np.where(there, y - means[:, None], 0.0)
    projections = np.einsum("ij,jl->ijl", w, np.eye(n)) - np.einsum("ij,il->ijl", w, share)  # (k, n, n)
    one = common(Rows(centred[None], projections, counts), check)
    laplacian = projections.sum(axis=0)
    inverse = np.linalg.pinv(laplacian, hermitian=True)
    seeds = inverse @ centred.sum(axis=0)  # (n,)
    squares = (w * (centred - seeds + (share @ seeds)[:, None]) ** 2).sum(axis=1)
    step = share[first] - share[second]  # (m, n)
    through = step @ inverse
    linked = np.abs(step - through @ laplacian).max(axis=1, initial=0.0) < 1e-8  # else no seeds join the two
    known = (counts > 0)[first] & (counts > 0)[second] & linked
    variance, df = float(one.variance[0, 0]), float(one.df[0, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = means[first] - means[second] - step @ seeds
        scale = 1 / counts[first] + 1 / counts[second] + np.einsum("mj,mj->m", through, step)
        if (counts > 1).sum() > 2:
            each, each_df = _spreads(squares, there, projections, inverse, variance)
            # What each candidate's values count for in a difference, squared: (m, k).
            parts = np.einsum("mj,ijl,ml->mi", through, projections, through)
            rows = np.arange(len(pairs))
            parts[rows, first] += 1 / counts[first]
            parts[rows, second] += 1 / counts[second]
            weighted = np.where(np.isfinite(parts), parts, 0.0) * each
            own = weighted.sum(axis=1)
            own_df = own**2 / (weighted**2 / each_df).sum(axis=1)
        else:
            own, own_df = variance * scale, np.full(len(pairs), df)
    shared = (there[first] & there[second]).sum(axis=1).astype(float)
    exact = squares.sum() <= (ALIKE * np.abs(y).max(initial=0.0)) ** 2 * k * n
    difference, pooled, own = (np.where(known, x, np.nan)[None] for x in (difference, variance * scale, own))
    return TwoWay(difference, pooled, one.df, own, own_df[None], shared[None], np.array([[exact]]), one)


def _spreads(
    squares: Floats, there: NDArray[np.bool_], projections: Floats, inverse: Floats, variance: float
) -> tuple[Floats, Floats]:
    """Return each candidate's variance, (k,), and its degrees of freedom, by the expected squares of residuals.

    Those of candidate i are dᵢ σᵢ² + Σⱼ tr(Pᵢ G Pⱼ G) σⱼ², equal but for σᵢ² for all that have the same seeds: the
    equations are solved for the means over these, and what a candidate is off from its mean is divided by d.
    """
    patterns, first, same, of = np.unique(there, axis=0, return_index=True, return_inverse=True, return_counts=True)
    same, of = same.ravel(), of.astype(float)
    freedom = np.maximum(patterns.sum(axis=1) - 1.0, 0.0)  # (g,) of each set of seeds
    through = np.einsum("gjl,lo->gjo", projections[first], inverse)  # (g, n, n)
    own = freedom - 2 * np.einsum("gjj->g", through)
    expected = through.reshape(len(of), -1) @ np.swapaxes(through, 1, 2).reshape(len(of), -1).T  # tr(Pᵢ G Pⱼ G)
    weight = np.sqrt(of)
    expected = np.diag(own) + weight[:, None] * expected * weight
    means = np.bincount(same, squares) / of
    several = freedom > 0
    solved = np.zeros(len(of))
    system = expected[np.ix_(several, several)]
    solved[several] = np.linalg.lstsq(system, (weight * means)[several], rcond=1e-10)[0] / weight[several]
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.where(np.abs(own) > 1e-10, 1 / own, 0.0)
        each = solved[same] + (squares - means[same]) * apart[same]
        floor = squares / freedom[same]
    return np.where(several[same], np.maximum(each, floor), variance), np.where(several, freedom, 1.0)[same]
