"""What candidates' means over all seeds probably are: draws from their distribution, shrunk towards one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.results.fronts.spread import Elsewhere, Spread, spread_of
from ablate.results.fronts.two_way import TwoWay, two_way

Array = NDArray[np.float64]

DRAWS = 2000  # and of many candidates as many less as they are more than 300, so that it takes no longer
FEWEST_DRAWS = 500
FEWEST = 4  # candidates under which nothing is known of how they are distributed: they are not shrunk
SLOPE_FROM = 8  # candidates from which on quality may follow the cost
SPAN = 2.0  # the largest cost over the smallest, from which on it may
GRID = 80  # values of the candidates' own deviation over which is averaged


@dataclass(frozen=True)
class Seeds:
    """What the seeds of k candidates tell of one objective: means and noise, of logarithms where `logarithmic`.

    Without a `spread` they are no draws of a continuous value, since some candidate has the same one with all seeds.
    """

    values: Array  # (k, s), NaN where there is none
    layout: TwoWay
    spread: Spread | None
    logarithmic: bool


def is_logarithmic(values: Array) -> bool:
    """Return whether values are taken by their logarithms: where all that there are are positive."""
    there = values[np.isfinite(values)]
    return bool(len(there) and (there > 0).all())


def draws_for(candidates: int) -> int:
    """Return how many times the means of so many candidates are drawn."""
    return max(min(DRAWS, 300 * DRAWS // max(candidates, 1)), FEWEST_DRAWS)


def read_seeds(values: Array, elsewhere: Elsewhere | None = None) -> Seeds:
    """Read (k, s) values over seeds, NaN where there is none; each candidate has one at least.

    elsewhere: the spread, on the same scale, that other trials tell, where these seeds do not. Raises NoSpreadError
    where it is not known.
    """
    logarithmic = is_logarithmic(values)
    layout = two_way(np.log(values) if logarithmic else values)
    repeated = layout.counts > 1
    if (np.nanmax(values[repeated], axis=1) == np.nanmin(values[repeated], axis=1)).any():
        return Seeds(values, layout, None, logarithmic)
    return Seeds(values, layout, spread_of(layout, elsewhere), logarithmic)


def draw_means(seeds: Seeds, cost: Array, rng: np.random.Generator, draws: int, normal: Array | None = None) -> Array:
    """Draw (draws, k) expected values of the candidates, each row as probable as another.

    A normal hierarchical model (Fay & Herriot 1979; Gelman et al. 2013, sec. 5.4), of logarithms where all values are
    positive: a candidate's expected value lies about a mean that is common to all, or a line in log cost (k,) where
    there are eight candidates or more and costs differ twofold, with a deviation τ of its own; what is measured lies
    about that by the spread over seeds. τ has a flat prior, and is averaged over. So the best of many is drawn towards
    the others, the more the noisier and the fewer the seeds are. Fewer than four candidates are not.

    What is not continuous (a count of spikes, the memory) is resampled from each candidate's own seeds (bootstrap).

    normal: (draws, k) standard normal values to use, where several objectives are to be drawn together.
    """
    layout, spread = seeds.layout, seeds.spread
    if spread is None:
        return _resampled(seeds.values, rng, draws)
    normal = rng.normal(size=(draws, len(cost))) if normal is None else normal
    drawn = _drawn(layout.means, layout.counts, _design(cost), spread, rng, normal)
    # The mean of a value is more than the exponential of the mean of its logarithm.
    return np.asarray(np.exp(drawn + 0.5 * spread.variances)) if seeds.logarithmic else drawn


def _resampled(values: Array, rng: np.random.Generator, draws: int) -> Array:
    """Draw (draws, k) means of values that are drawn, with replacement, from each candidate's own."""
    out = np.empty((draws, len(values)))
    for i, row in enumerate(values):
        own = row[np.isfinite(row)]
        out[:, i] = own[rng.integers(0, len(own), (draws, len(own)))].mean(axis=1)
    return out


def _design(cost: Array) -> Array:
    """Return the (k, 1) or (k, 2) columns of the common mean."""
    ones = np.ones(len(cost))
    if len(cost) < SLOPE_FROM or not (np.isfinite(cost) & (cost > 0)).all() or cost.max() < SPAN * cost.min():
        return ones[:, None]
    logs = np.log(cost)
    return np.column_stack([ones, logs - logs.mean()])


def _drawn(
    means: Array,
    counts: NDArray[np.int64],
    design: Array,
    spread: Spread,
    rng: np.random.Generator,
    normal: Array,
) -> Array:
    """Draw (draws, k) expected values on the scale of the means (k,)."""
    draws = len(normal)
    noise = spread.draw(rng, draws) / counts  # (draws, k) variances of the means
    if len(means) < FEWEST:
        return np.asarray(means + np.sqrt(noise) * normal)
    own = _own_variances(means, spread.variances / counts, design, rng, draws)[:, None]  # (draws, 1)
    total = np.maximum(own + noise, np.finfo(float).tiny)
    weights = 1.0 / total
    squares = np.einsum("rk,kp,kq->rpq", weights, design, design, optimize=True)
    covariance = np.linalg.inv(squares)
    centre = np.einsum("rpq,rq->rp", covariance, (weights * means) @ design)
    centre += np.einsum("rpq,rq->rp", np.linalg.cholesky(covariance), rng.normal(size=centre.shape))
    shrinkage = noise / total  # towards the common mean
    return np.asarray(means + shrinkage * (centre @ design.T - means) + np.sqrt(own * shrinkage) * normal)


def _own_variances(means: Array, noise: Array, design: Array, rng: np.random.Generator, draws: int) -> Array:
    """Draw (draws,) τ², the candidates' own variance about their common mean, given the noise (k,) of their means."""
    rest = means - design @ np.linalg.lstsq(design, means, rcond=None)[0]
    widest = 4 * float(np.sqrt((rest**2).sum() / max(len(means) - design.shape[1], 1)))
    if widest == 0:
        return np.zeros(draws)
    deviations = (np.arange(GRID) + 0.5) / GRID * widest
    total = deviations[:, None] ** 2 + noise
    weights = 1.0 / total
    squares = np.einsum("rk,kp,kq->rpq", weights, design, design, optimize=True)
    centre = np.linalg.solve(squares, ((weights * means) @ design)[..., None])[..., 0]
    residuals = means - centre @ design.T
    logs = 0.5 * (np.log(weights) - weights * residuals**2).sum(axis=1) - 0.5 * np.linalg.slogdet(squares)[1]
    chances = np.exp(logs - logs.max())
    return np.asarray(deviations[rng.choice(GRID, draws, p=chances / chances.sum())] ** 2)
