"""The mixed model of a factorial design: seeds, and candidates that do not add up, as random effects."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.results.fronts.two_way import two_way

Array = NDArray[np.float64]
Labels = NDArray[Any]

POOLED = 0.25  # p of the lack of fit from which on it is taken for noise (Bancroft 1964)
EXACT = 1e-12  # share of the squares: what is less is rounding


@dataclass(frozen=True)
class Fit:
    """A fitted model: its coefficients (p,), their covariance (p, p) without the noise's variance, and that variance.

    degrees: of freedom of the variance; 0 where no trial is left to tell noise by. about: what was fitted, in words.
    """

    coefficients: Array
    inverse: Array
    variance: float
    degrees: int
    about: str
    lack: float  # p of the test that choices add up; NaN where nothing tells

    def estimate(self, weights: Array) -> tuple[float, float]:
        """Return a combination of the coefficients, and its standard error (NaN without degrees of freedom)."""
        value = float(weights @ self.coefficients)
        if not self.degrees:
            return value, math.nan
        return value, math.sqrt(max(self.variance * float(weights @ self.inverse @ weights), 0.0))


def fit(y: Array, matrix: Array, seeds: Labels, candidates: Labels, complete: bool) -> Fit:
    """Fit y (n,) = matrix (n, p) · coefficients + seed + candidate + noise.

    seeds, candidates: (n,) labels of the trials. complete: whether the candidates are a whole grid: then a candidate
    that differs from what its choices add up to is no error of a main effect, which is the mean over the grid.

    In another design it is one. Where a test shows that candidates do not add up, their means over seeds, as if each
    had all seeds, are the observations: else the seeds of one candidate would count as so many candidates. Where they
    do, or in a grid, trials are: with the same seeds for all candidates, seeds are taken out, which is what the mixed
    model comes to; else the variance of the seeds is estimated by restricted maximum likelihood (statsmodels), and the
    coefficients by generalised least squares. The degrees of freedom are those with a column for each seed.
    """
    names, place = np.unique(candidates, return_inverse=True)
    numbers, seed = np.unique(seeds, return_inverse=True)
    table = np.full((len(names), len(numbers)), np.nan)
    table[place, seed] = y
    layout = two_way(table)
    rows = np.zeros((len(names), matrix.shape[1]))
    rows[place] = matrix  # of a candidate they are the same
    spare = len(names) - _rank(rows)
    apart = np.eye(len(numbers))[seed][:, 1:] - np.eye(len(numbers))[seed][:, :1]  # effects that sum to 0
    with_seeds = np.hstack([matrix, apart])
    lack, is_noise = _lack_of_fit(_squares(y, with_seeds), float(layout.squares.sum()), layout.total_degrees, spare)
    if not complete and not is_noise:
        return _least_squares(layout.means, rows, spare, "candidates' means over seeds", lack)
    free = len(y) - _rank(with_seeds)
    if len(numbers) == 1:
        return _least_squares(y, matrix, free, "least squares", lack)
    if np.isfinite(table).all():
        effects = table.mean(axis=0) - table.mean()
        return _least_squares(y - effects[seed], matrix, free, "seeds as random effects", lack)
    ratio = _ratio(y, matrix, seed)
    if ratio is None:  # the likelihood has no end: seeds are taken as fixed
        solved = _least_squares(y, with_seeds, free, "seeds as fixed effects", lack)
        p = matrix.shape[1]
        return Fit(solved.coefficients[:p], solved.inverse[:p, :p], solved.variance, free, solved.about, lack)
    counts = np.bincount(seed)
    shrink = 1 - 1 / np.sqrt(1 + ratio * counts)  # the root of the inverse covariance, seed by seed

    def whitened(columns: Array) -> Array:
        means = np.array([np.bincount(seed, column) / counts for column in columns.T]).T
        apart: Array = columns - shrink[seed, None] * means[seed]
        return apart

    # The seeds' own part is in the whitened squares: their degrees of freedom are those of the whole.
    whole = len(y) - _rank(matrix)
    solved = _least_squares(whitened(y[:, None])[:, 0], whitened(matrix), whole, "seeds as random effects", lack)
    return replace(solved, degrees=free)


def _least_squares(y: Array, matrix: Array, free: int, about: str, lack: float) -> Fit:
    inverse: Array = np.asarray(np.linalg.pinv(matrix.T @ matrix), dtype=np.float64)
    coefficients: Array = inverse @ matrix.T @ y
    squares = float(((y - matrix @ coefficients) ** 2).sum())
    return Fit(coefficients, inverse, squares / free if free else math.nan, free, about, lack)


def _lack_of_fit(more: float, least: float, free: float, spare: int) -> tuple[float, bool]:
    """Test whether candidates are what their choices add up to; return p, and whether to take the rest as noise.

    more, least: sums of squares beside the choices, and beside the candidates. free: degrees of freedom of the second.
    spare: candidates beyond what the choices explain.
    """
    from scipy.special import fdtrc

    if free < 1 or spare <= 0 or more <= 0:
        return math.nan, True
    if least <= EXACT * more:
        return 0.0, False
    p = float(fdtrc(spare, free, max(more - least, 0.0) / spare / (least / free)))
    return p, p >= POOLED


def _squares(y: Array, matrix: Array) -> float:
    squares = float(((y - matrix @ np.linalg.lstsq(matrix, y, rcond=None)[0]) ** 2).sum())
    return squares if squares > EXACT * float(((y - y.mean()) ** 2).sum()) else 0.0


def _ratio(y: Array, matrix: Array, seed: Labels) -> float | None:
    """Estimate the variance of the seeds over that of the noise (REML); None where it is not found."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    scale = float(y.std()) or 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance at 0 is an answer, and no reason for a warning
        try:
            found = MixedLM(y / scale, matrix[:, _independent(matrix)], groups=seed).fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    variance = float(np.asarray(found.cov_re)[0, 0])
    if not found.scale > 0 or not math.isfinite(variance):
        return None
    return max(variance, 0.0) / float(found.scale)


def _independent(matrix: Array) -> list[int]:
    """Return columns that are no combination of those before them."""
    chosen: list[int] = []
    for i in range(matrix.shape[1]):
        if _rank(matrix[:, [*chosen, i]]) == len(chosen) + 1:
            chosen.append(i)
    return chosen


def _rank(matrix: Array) -> int:
    return int(np.linalg.matrix_rank(matrix))
