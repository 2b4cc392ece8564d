"""The common deviation of candidates, and which of them are noisier than that: exact F-tests on two-way residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """What b studies have of each of k candidates over n seeds: values about their own mean, 0 where missing."""

    centred: Floats  # (b, k, n)
    projections: Floats | None  # (k, n, n) what centring does to a row of which values are missing; None: all are there
    counts: Floats  # (k,) values of each candidate

    def residual(self, rows: NDArray[np.bool_], without: bool = False) -> tuple[Floats, Floats]:
        """Return the squares and degrees of freedom of the fit to the given (b, k) rows.

        without: of the fits to them with each row left out in turn, (b, k); else (b, 1).
        """
        chosen = rows[:, :, None] * self.centred
        squares = (chosen**2).sum(axis=2)
        total, sums = squares.sum(axis=1, keepdims=True), chosen.sum(axis=1, keepdims=True)  # (b, 1), (b, 1, n)
        held = rows * (self.counts > 0)
        number = held.sum(axis=1, keepdims=True).astype(float)
        freedom = (held * np.maximum(self.counts - 1, 0)).sum(axis=1, keepdims=True)
        if without:
            total, sums, number = total - squares, sums - chosen, np.maximum(number - held, 0)
            freedom = freedom - held * np.maximum(self.counts - 1, 0)
        if self.projections is None:
            n = self.centred.shape[2]
            with np.errstate(invalid="ignore", divide="ignore"):
                explained = np.where(number > 0, (sums**2).sum(axis=2) / number, 0.0)
            return total - explained, freedom - (n - 1) * (number > 0)
        laplacian = np.einsum("bk,kij->bij", rows.astype(float), self.projections)[:, None]
        if without:
            laplacian = laplacian - rows[:, :, None, None] * self.projections
        explained = np.einsum("bki,bkij,bkj->bk", sums, np.linalg.pinv(laplacian, hermitian=True), sums)
        return total - explained, freedom - np.linalg.matrix_rank(laplacian, hermitian=True)


@dataclass(frozen=True)
class Common:
    """One variance for all candidates that are not shown to be noisier than the others."""

    variance: Floats  # (b, 1)
    df: Floats  # (b, 1)
    noisy: NDArray[np.bool_]  # (b, k)
    p: Floats  # (b, k) of each candidate's residuals against those of all others, one-sided; 1 where that is not known
    freedom: tuple[float, float]  # of that test in the first study, for the candidate with the most seeds


def common(rows: Rows, check: float) -> Common:
    """Estimate the common variance; who is noisier by an F-test at `check`, corrected by Bonferroni, is left out.

    The residuals that the fit without a candidate does not have, against those that it has (Russell & Bradley 1958):
    exact for normal errors of one deviation. The noisiest goes first, then the others are looked at again.
    """
    b, k = rows.centred.shape[:2]
    kept = np.ones((b, k), dtype=bool)
    study = np.arange(b)
    squares, df = rows.residual(kept)
    first, freedom = _p(rows, kept, squares, df)
    p = first
    for _ in range(max(k - 2, 0)):
        worst = p.argmin(axis=1)
        out = (p[study, worst] * kept.sum(axis=1) < check) & (kept.sum(axis=1) > 2)
        if not out.any():
            break
        kept[study[out], worst[out]] = False
        squares, df = rows.residual(kept)
        p, _ = _p(rows, kept, squares, df)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.where(df > 0, squares / df, np.nan)
    return Common(variance, df, ~kept, first, freedom)


def _p(rows: Rows, kept: NDArray[np.bool_], squares: Floats, df: Floats) -> tuple[Floats, tuple[float, float]]:
    from scipy.special import fdtrc

    rest, rest_df = rows.residual(kept, without=True)
    own, own_df = squares - rest, df - rest_df
    known = kept & (own_df > 0) & (rest_df > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.maximum(own, 0.0) / own_df / (np.maximum(rest, 0.0) / rest_df)
        p = np.where(known, fdtrc(np.maximum(own_df, 1), np.maximum(rest_df, 1), ratio), 1.0)
    most = int(np.argmax(rows.counts))
    return np.nan_to_num(p, nan=1.0), (float(own_df[0, most]), float(rest_df[0, most]))
