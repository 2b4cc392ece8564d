"""What candidates reach at the end of their budget, from their learning curves so far: power laws, fitted together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

ROUNDS = 30  # of expectation and maximisation
PRIOR = 2.0  # curves' worth of the weak prior on how curves differ, without which one curve would have no spread
SLOPE = 0.5  # deviation of the exponent under that prior
LEAST_NOISE = 1e-3  # of a point, relative to the spread of all points


@dataclass(frozen=True)
class Ends:
    """What each candidate comes to at the end of its budget, without noise, as a normal distribution; and a new one."""

    mean: Array  # (n,)
    deviation: Array  # (n,)
    new_mean: float
    new_deviation: float


def extrapolated(shares: Array, curves: Array) -> Ends:
    """Extrapolate (n, k) points of curves at (k,) shares of the budget to its end, share 1; NaN where there is none.

    A curve is β + c·log(share), a power law where the points are logarithms; (β, c) of the candidates are normal about
    a common mean, and each share has a noise of its own. All of it is fitted to all curves together by expectation and
    maximisation (random coefficients, Laird & Ware 1982), so that short curves borrow their slope from long ones.
    Every curve needs a point.
    """
    design = np.column_stack([np.ones(len(shares)), np.log(shares)])  # (k, 2)
    known = np.isfinite(curves)
    filled = np.where(known, curves, 0.0)
    spread = max(float(np.nanstd(curves)), 1e-12)
    mean, between = np.array([float(np.nanmean(curves)), 0.0]), np.diag([spread**2, SLOPE**2])
    prior, noise = between.copy(), np.full(len(shares), (0.3 * spread) ** 2)
    patterns, member = np.unique(known, axis=0, return_inverse=True)
    member = member.reshape(-1)
    for _ in range(ROUNDS):
        weights = known / noise  # (n, k)
        precision = np.linalg.inv(between)
        # Curves with points at the same shares have the same covariance.
        covariances = np.linalg.inv(precision + np.einsum("pk,ka,kb->pab", patterns / noise, design, design))
        coefficients = np.einsum("nab,nb->na", covariances[member], precision @ mean + (weights * filled) @ design)
        own = covariances[member]  # (n, 2, 2)
        mean = coefficients.mean(axis=0)
        centred = coefficients - mean
        between = (centred.T @ centred + own.sum(axis=0) + PRIOR * prior) / (len(curves) + PRIOR)
        squares = (filled - coefficients @ design.T) ** 2 + np.einsum("nab,ka,kb->nk", own, design, design)
        noise = ((known * squares).sum(axis=0) + PRIOR * (0.3 * spread) ** 2) / (known.sum(axis=0) + PRIOR)
        noise = np.maximum(noise, (LEAST_NOISE * spread) ** 2)
    return Ends(coefficients[:, 0], np.sqrt(own[:, 0, 0]), float(mean[0]), float(np.sqrt(between[0, 0])))


def improvements(cost: Array, mean: Array, deviation: Array, front: Array, reference: tuple[float, float]) -> Array:
    """Compute by how much each of (n,) normal values is expected to enlarge the hypervolume of a front (f, 2).

    front: (cost, value), both minimised; reference: the worst of both. The cost of a candidate is known, so this is a
    sum of the expected improvements (Jones et al. 1998) over the stretches of cost between members of the front.
    """
    order = np.argsort(front[:, 0], kind="stable")
    begins = np.concatenate([[-np.inf], front[order, 0]])
    ends = np.minimum(np.concatenate([front[order, 0], [np.inf]]), reference[0])
    levels = np.minimum.accumulate(np.concatenate([[reference[1]], front[order, 1]]))
    widths = np.maximum(ends - np.maximum(begins, cost[:, None]), 0.0)  # (n, f + 1)
    beyond = (levels - mean[:, None]) / deviation[:, None]
    density = np.exp(-(beyond**2) / 2) / np.sqrt(2 * np.pi)
    gains = deviation[:, None] * (beyond * ndtr(beyond) + density)
    return np.asarray((widths * gains).sum(axis=1))
