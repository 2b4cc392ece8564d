"""A power law above a floor that single points do not pull away: Huber's loss, bootstrap, leaving out one size."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.results.powerlaw import STEEPEST, PowerLaw, fit

Array = NDArray[np.float64]

HUBER = (
    1.345  # deviations beyond which a residual counts by its size alone: 95 % efficient for normal ones (Huber 1981)
)
RESAMPLES = 400
FEWEST = 4  # different sizes that a law takes
LOWEST = -40.0  # log of a floor, relative to the law at the largest size, that is none


def robust(x: Array, y: Array, start: PowerLaw | None = None) -> PowerLaw:
    """Fit y = factor · x^exponent + floor by Huber's loss of the residuals of log y; (n,) positive values.

    The scale is the median absolute residual of the fit by least squares (`start`). Without an interval: its ends are
    NaN. The exponent is NaN where the points show a step.
    """
    start = fit(x, y) if start is None else start
    if math.isnan(start.exponent):
        return start._replace(low=math.nan, high=math.nan)
    log_x, log_y = np.log(x / x.max()), np.log(y)
    residuals = log_y - np.log(start.factor * x**start.exponent + start.floor)
    scale = max(float(np.median(np.abs(residuals))) / 0.6745, 1e-9)
    return _huber(log_x, log_y, float(x.max()), scale, start)


def _huber(log_x: Array, log_y: Array, largest: float, scale: float, start: PowerLaw) -> PowerLaw:
    """Minimise Huber's loss from a start; log_x is relative to the largest x."""
    from scipy.optimize import least_squares
    from scipy.special import expit

    steepest = max(4.0, STEEPEST / float(np.ptp(log_x)))
    at_largest = start.factor * largest**start.exponent
    kappa = math.log(start.floor / at_largest) if start.floor > 0 else LOWEST / 2

    def residuals(parameters: Array) -> Array:
        log_a, exponent, log_kappa = parameters
        return np.asarray(log_a + np.logaddexp(exponent * log_x, log_kappa) - log_y)

    def jacobian(parameters: Array) -> Array:
        _, exponent, log_kappa = parameters
        law = expit(exponent * log_x - log_kappa)  # its share of law + floor
        return np.stack([np.ones_like(log_x), law * log_x, 1 - law], axis=1)

    bounds = ([-np.inf, -steepest, LOWEST], [np.inf, steepest, 8.0])
    begin = np.clip([math.log(at_largest), start.exponent, kappa], *bounds)
    options = {"loss": "huber", "f_scale": HUBER * scale, "bounds": bounds, "x_scale": [1, 0.3, 3]}
    found = least_squares(residuals, begin, jacobian, **options)
    log_a, exponent, log_kappa = (float(value) for value in found.x)
    factor = math.exp(log_a - exponent * math.log(largest))
    floor = math.exp(log_a + log_kappa) if log_kappa > LOWEST / 2 - 1 else 0.0
    return PowerLaw(exponent, math.nan, math.nan, factor, floor, False)


def bootstrap(x: Array, y: Array, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the robust exponent over sizes that are drawn with replacement (percentiles).

    Draws of fewer than four different sizes are drawn again. Both ends are NaN where the points show a step.
    """
    law = fit(x, y)
    central = robust(x, y, law)
    if math.isnan(central.exponent) or len(np.unique(x)) < FEWEST:
        return math.nan, math.nan
    log_y = np.log(y)
    scale = max(float(np.median(np.abs(log_y - np.log(central.factor * x**central.exponent + central.floor)))), 1e-9)
    rng = np.random.default_rng(seed)
    exponents: list[float] = []
    while len(exponents) < resamples:
        rows = rng.integers(0, len(x), len(x))
        if len(np.unique(x[rows])) >= FEWEST:
            own = x[rows]
            found = _huber(np.log(own / own.max()), log_y[rows], float(own.max()), scale / 0.6745, central)
            exponents.append(found.exponent)
    low, high = np.quantile(exponents, [0.025, 0.975])
    return float(low), float(high)


def leave_one_out(points: pd.DataFrame) -> pd.DataFrame:
    """Fit the law without each of the points in turn; points: label, cost, quality.

    Columns: left_out (its label), cost, quality; exponent and floor of the others' law; predicted, what that says of
    the one that is left out, and error, relative to its quality. Missing where the others show a step or are too few.
    """
    x, y = points["cost"].to_numpy(dtype=float), points["quality"].to_numpy(dtype=float)
    rows = []
    for i, label in enumerate(points["label"]):
        others = np.arange(len(x)) != i
        enough = len(np.unique(x[others])) >= FEWEST
        law = fit(x[others], y[others]) if enough else None
        told = law is not None and not math.isnan(law.exponent)
        predicted = law.factor * x[i] ** law.exponent + law.floor if law is not None and told else math.nan
        exponent, floor = (law.exponent, law.floor) if law is not None else (math.nan, math.nan)
        rows.append((label, x[i], y[i], exponent, floor, predicted, predicted / y[i] - 1))
    columns = ["left_out", "cost", "quality", "exponent", "floor", "predicted", "error"]
    return pd.DataFrame(rows, columns=columns)
