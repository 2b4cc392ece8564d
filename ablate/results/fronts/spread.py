"""The spread of values over seeds: a variance for each candidate, drawn towards what all have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.errors import InputError
from ablate.results.fronts.two_way import TwoWay

Array = NDArray[np.float64]

FEWEST = 3.0  # degrees of freedom under which a spread is taken as unknown
FEW = 3  # candidates with seeds of their own, under which nothing is known of how spreads differ


class NoSpreadError(InputError):
    """Raised where nothing tells how much values differ between seeds."""


@dataclass(frozen=True)
class Spread:
    """Variances of one value over seeds, by empirical Bayes over the candidates (Smyth 2004, as in limma).

    Few seeds tell little of one candidate's variance, and much of all together: each is an inverse χ² variable whose
    degrees of freedom are those of the candidate and `prior`, which says how much alike the variances are (infinite
    where no more differs than chance makes them).
    """

    variances: Array  # (k,) of one value
    degrees: Array  # (k,) of freedom of each
    prior: float
    pooled: float  # degrees of freedom over all

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Draw (count, k) variances as probable as the seeds make them."""
        if math.isinf(self.prior):  # one variance, that is common to all
            return self.variances * (self.pooled / rng.chisquare(self.pooled, (count, 1)))
        return self.variances * self.degrees / rng.chisquare(self.degrees, (count, len(self.degrees)))


@dataclass(frozen=True)
class Elsewhere:
    """What other trials of the same candidates tell of the spread, such as those of a confirmation."""

    squares: float
    degrees: float


def spread_of(layout: TwoWay, elsewhere: Elsewhere | None = None) -> Spread:
    """Estimate the spread from a layout, and where its own seeds are too few, from elsewhere as well.

    Raises NoSpreadError where there are fewer than three degrees of freedom.
    """
    squares, degrees = layout.squares, layout.degrees
    total, pooled = float(squares.sum()), layout.total_degrees
    if pooled < FEWEST and elsewhere is not None:
        total, pooled = total + elsewhere.squares, pooled + elsewhere.degrees
    if pooled < FEWEST:
        raise NoSpreadError(_why(layout, pooled))
    prior, common = _prior(squares, degrees) if layout.total_degrees >= FEWEST else (math.inf, math.nan)
    if math.isinf(prior):
        return Spread(np.full(len(squares), total / pooled), np.full(len(squares), pooled), prior, pooled)
    freedom = prior + degrees
    return Spread((prior * common + squares) / freedom, freedom, prior, pooled)


def _why(layout: TwoWay, pooled: float) -> str:
    most = int(layout.counts.max(initial=0))
    if most <= 1:
        return "one seed each: how much values differ between seeds is not known"
    return (
        f"too few seeds: how much values differ between them is told by {pooled:.2g} "
        f"{'degree' if pooled == 1 else 'degrees'} of freedom, and it takes {FEWEST:.0f}"
    )


def _prior(squares: Array, degrees: Array) -> tuple[float, float]:
    """Return the prior's degrees of freedom and variance: moments of the logarithms of the variances (Smyth 2004).

    Infinite degrees where the variances differ no more than by chance, or are too few to tell.
    """
    from scipy.special import digamma, polygamma

    told = (degrees > 0.5) & (squares > 0)
    if told.sum() < FEW:
        return math.inf, math.nan
    half = degrees[told] / 2
    logs = np.log(squares[told] / degrees[told]) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    if excess <= 0:
        return math.inf, math.nan
    prior = 2 * _inverse_trigamma(excess)
    return prior, math.exp(float(logs.mean()) + float(digamma(prior / 2)) - math.log(prior / 2))


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(x) = value for x > 0, by Newton's method on 1 / trigamma, which is nearly linear."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
