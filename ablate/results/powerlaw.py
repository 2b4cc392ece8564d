"""Fit a power law above a floor, y = factor · x^exponent + floor, with a confidence interval of the exponent."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEEPEST = 24.0  # exponent times log(range of x), beyond which a power law is a step
ROUNDING = 1e-10  # of log y: points that lie on a law to that much are taken to lie on it


class PowerLaw(NamedTuple):
    """A fitted power law; `low` and `high` are the exponent's 95 % interval, infinite where nothing bounds it."""

    exponent: float  # NaN where the points show a step
    low: float
    high: float
    factor: float
    floor: float
    floor_told: bool  # whether no floor at all is refuted


def fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> PowerLaw:
    """Fit by least squares in log y, floor ≥ 0, over (n,) positive points with n ≥ 4 and at least two different x.

    At a given exponent b the law is y = A · (x^b + κ): log A has a closed form, and κ ≥ 0 is found on a grid that is
    refined, 0 included, so that there is no start to depend on. The interval is the set of exponents whose
    best fit F(1, n − 3) does not refute (profile likelihood; Bates & Watts 1988, sec. 6.1), and what the line
    through the logarithms allows where they do not refute a floor of 0.
    """
    from scipy import stats

    log_x, log_y = np.log(x / x.max()), np.log(y)
    steepest = max(4.0, STEEPEST / float(np.ptp(log_x)))
    half = np.geomspace(1e-3, steepest, 60)
    grid = np.concatenate([-half[::-1], [0.0], half])
    squares, _ = _profile(grid, log_x, log_y, 2)
    best = int(squares.argmin())
    exponent = _refined(grid, best, log_x, log_y)
    (least,), (log_kappa,) = _profile(np.array([exponent]), log_x, log_y)
    n = len(x)
    bound = float(stats.f.ppf(0.95, 1, n - 3)) / (n - 3)
    limit = least * (1 + bound) + n * ROUNDING**2
    low, high = (_end(grid, squares, exponent, side, limit, log_x, log_y) for side in (-1, 1))
    # y = A · (exp(b·log_x − top) + κ)
    top = float((exponent * log_x).max())
    shape = np.logaddexp(exponent * log_x - top, log_kappa)
    log_a = float((log_y - shape).mean())
    factor = math.exp(log_a - top - exponent * math.log(float(x.max())))
    floor = math.exp(log_a + float(log_kappa)) if math.isfinite(log_kappa) else 0.0
    line = stats.linregress(log_x, log_y)
    residuals = log_y - line.intercept - line.slope * log_x
    floor_shown = bool(float(residuals @ residuals) > limit)
    if not floor_shown:  # then it may be a law without a floor, whose own interval is exact
        margin = float(stats.t.ppf(0.975, n - 2) * line.stderr)
        low, high = min(low, float(line.slope) - margin), max(high, float(line.slope) + margin)
    if best in (0, len(grid) - 1):
        return PowerLaw(math.nan, low, high, math.nan, math.nan, floor_shown)
    return PowerLaw(exponent, low, high, factor, floor, floor_shown)


def _profile(
    exponents: NDArray[np.float64], log_x: NDArray[np.float64], log_y: NDArray[np.float64], finer: int = 7
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for (M,) exponents the least sum of squares (M,), and the log κ (M,) that gives it (−inf: no floor).

    log κ is known to a fortieth of its range, and five times closer for each time that the grid is made `finer`.
    """
    u = exponents[:, None] * log_x  # (M, n)
    u = u - u.max(axis=1, keepdims=True)

    def squares(log_kappa: NDArray[np.float64]) -> NDArray[np.float64]:  # (M, K) -> (M, K)
        residuals = log_y - np.logaddexp(u[:, None, :], log_kappa[:, :, None])
        return np.asarray(residuals.var(axis=2) * len(log_y))

    low, high = u.min(axis=1) - 6, np.full(len(u), 8.0)
    rows = np.arange(len(u))
    for points in (40, *(11,) * finer):
        steps = np.linspace(0, 1, points)
        candidates = low[:, None] + (high - low)[:, None] * steps
        sums = squares(candidates)
        chosen = sums.argmin(axis=1)
        width = (high - low) / (points - 1)
        best, least = candidates[rows, chosen], sums[rows, chosen]
        low, high = best - width, best + width
    none = squares(np.full((len(u), 1), -np.inf))[:, 0]
    no_floor = none <= least
    return np.where(no_floor, none, least), np.where(no_floor, -np.inf, best)


def _refined(grid: NDArray[np.float64], index: int, log_x: NDArray[np.float64], log_y: NDArray[np.float64]) -> float:
    """Return the exponent of the least sum of squares near a point of the grid."""
    low, high = grid[max(index - 1, 0)], grid[min(index + 1, len(grid) - 1)]
    best = float(grid[index])
    for _ in range(9):
        candidates = np.linspace(low, high, 11)
        squares, _ = _profile(candidates, log_x, log_y, 5)
        best, width = float(candidates[squares.argmin()]), (high - low) / 10
        low, high = max(best - width, low), min(best + width, high)
    return best


def _end(
    grid: NDArray[np.float64],
    squares: NDArray[np.float64],
    exponent: float,
    side: int,
    limit: float,
    log_x: NDArray[np.float64],
    log_y: NDArray[np.float64],
) -> float:
    """Return the farthest exponent on one side whose sum of squares is within the limit; infinite without an end."""
    within = grid[(squares <= limit) & ((grid - exponent) * side > 0)]
    if len(within) and side * within[np.abs(within).argmax()] == side * grid[0 if side < 0 else -1]:
        return side * math.inf
    inside = float(max(within, key=lambda b: side * b)) if len(within) else exponent
    beyond = grid[(grid - inside) * side > 0]
    if not len(beyond):
        return side * math.inf
    outside = float(min(beyond, key=lambda b: side * b))
    for _ in range(7):  # tenfold closer each time
        candidates = np.linspace(inside, outside, 11)
        is_within = _profile(candidates, log_x, log_y, 4)[0] <= limit
        is_within[0] = True
        last = int(np.flatnonzero(is_within).max())
        if last == len(candidates) - 1:
            return outside
        inside, outside = float(candidates[last]), float(candidates[last + 1])
    return outside
