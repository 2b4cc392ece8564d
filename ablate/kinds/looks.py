"""Looks at paired differences, one after each further pair: a t-test whose error is controlled over all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEWEST = 3  # pairs at the first look: two say next to nothing of the deviation
MOST = 100  # pairs, at the most, so that the boundaries take seconds
RISE = 2  # nominal levels rise with this power of the pairs: early looks are cheap, and most of the error is left
LEVELS = np.logspace(-12, 0, 61)  # nominal levels of the last look at which the error is computed, in between by log
NODES = 160  # values of the statistic
ARCS, WEIGHTS = np.polynomial.legendre.leggauss(20)  # of one arc of directions
ALIKE = 1e-9  # differences that differ by less than this share of the largest one are one and the same


class Found(NamedTuple):
    """What the looks at sequences of differences give, an entry a sequence."""

    p: NDArray[np.float64]  # two-sided, valid however often one looked and whenever one stopped; 1 without a look
    sign: NDArray[np.int64]  # of the mean at the look that counts; 0 without one


@dataclass(frozen=True)
class Looks:
    """A group-sequential paired t-test: one may look after `first` pairs and after each further one, up to `most`.

    At n pairs the nominal level is x·(n/most)², with an x such that under the null hypothesis (independent normal
    differences around 0, of any deviation) the chance that any of the looks rejects is the level of the whole test
    (alpha spending: Pocock 1977, Wang & Tsiatis 1987, Lan & DeMets 1983). That chance is computed, not simulated: under
    the null hypothesis the direction of (d₁ … dₙ) is uniform on the sphere, so that sum/√(n·sum of squares) is a Markov
    chain in [−1, 1] which does not depend on the deviation.

    Raises ValueError for numbers of pairs that are not 3 ≤ first ≤ most ≤ 100, and for an alpha outside (0, 1).
    """

    first: int
    most: int
    alpha: float  # of all verdicts of one family together

    def __post_init__(self) -> None:
        if not FEWEST <= self.first <= self.most <= MOST or not 0 < self.alpha < 1:
            raise ValueError(f"no looks are taken from {self.first} to {self.most} pairs at a level of {self.alpha}")

    def found(self, differences: NDArray[np.float64]) -> Found:
        """Test (..., n) differences, each sequence up to its first NaN or its `most`-th pair, for a mean of 0.

        p is the smallest level at which one of the looks so far rejects: it falls or stays as pairs are added, and
        P(p ≤ a) ≤ a under the null hypothesis whatever decided that one stops.
        """
        delta = np.asarray(differences, dtype=np.float64)[..., : self.most]
        p = np.ones(delta.shape[:-1])
        sign = np.zeros(delta.shape[:-1], dtype=np.int64)
        if delta.shape[-1] < self.first:
            return Found(p, sign)
        n = np.arange(1, delta.shape[-1] + 1)
        there = np.logical_and.accumulate(np.isfinite(delta), axis=-1)
        delta = np.where(there, delta, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = delta / np.abs(delta).max(axis=-1, keepdims=True)
            sums, squares = scaled.cumsum(axis=-1), (scaled**2).cumsum(axis=-1)
            cosine = np.clip(np.nan_to_num(sums / np.sqrt(n * squares)), -1, 1)
        levels = _nominal(np.abs(cosine), n) / (n / self.most) ** RISE
        looked = (there & (n >= self.first))[..., self.first - 1 :]
        levels = np.where(looked, levels[..., self.first - 1 :], np.inf)
        counts = np.argmin(levels, axis=-1)[..., None]
        lowest = np.take_along_axis(levels, counts, axis=-1)[..., 0]
        sign = np.sign(np.take_along_axis(cosine, counts + self.first - 1, axis=-1)[..., 0]).astype(np.int64)
        seen = looked.any(axis=-1)
        return Found(np.where(seen, self._error(lowest), 1.0), np.where(seen, sign, 0))

    def half_width(self, differences: NDArray[np.float64], level: float) -> float:
        """Return half the width of the interval around the mean of (n,) differences that holds at all looks at once.

        A repeated confidence interval (Jennison & Turnbull 1989): the means that the look at n pairs does not reject at
        this level. NaN where no look is taken at so many pairs.
        """
        from scipy.special import stdtrit

        n = len(differences)
        if not self.first <= n <= self.most:
            return math.nan
        nominal = self.nominal(level) * (n / self.most) ** RISE
        return float(stdtrit(n - 1, 1 - nominal / 2)) * float(np.std(differences, ddof=1)) / math.sqrt(n)

    def last_t(self, level: float) -> float:
        """Return the t from which on the look at `most` pairs rejects, where the whole test has this level."""
        from scipy.special import stdtrit

        return float(stdtrit(self.most - 1, 1 - self.nominal(level) / 2))

    def nominal(self, level: float) -> float:
        """Return the nominal level of the look at `most` pairs, where the whole test has this level."""
        errors = _errors(self.first, self.most)
        return float(np.exp(np.interp(math.log(level), np.log(errors), np.log(LEVELS))))

    def _error(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the chance that any look falls below such nominal levels of the last one, under the null."""
        errors = _errors(self.first, self.most)
        low = np.maximum(levels, LEVELS[0])
        found = np.exp(np.interp(np.log(np.minimum(low, 1.0)), np.log(LEVELS), np.log(errors)))
        return np.asarray(np.minimum(1.0, found))


def _nominal(cosine: NDArray[np.float64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return Student's two-sided p at n pairs, (..., n), by |sum|/√(n·sum of squares).

    Where all differences are one and the same, as of a metric that takes few values, their deviation is not known: p is
    that of their signs alone.
    """
    from scipy.special import betainc  # scipy.stats takes a second to import

    with np.errstate(invalid="ignore"):
        p = betainc(np.maximum(n - 1, 1) / 2, 0.5, 1 - cosine**2)
    p = np.where(1 - cosine < ALIKE, 2.0 ** (1 - n), p)
    return np.where(n > 1, p, 1.0)


@lru_cache(maxsize=32)
def _errors(first: int, most: int) -> NDArray[np.float64]:
    """Return the chance under the null hypothesis that any look rejects, for each of LEVELS; ascending, at last 1."""
    errors = np.array([_crossing(level, first, most) for level in LEVELS[:-1]] + [1.0])
    return np.minimum(np.maximum.accumulate(errors), 1.0)


def _crossing(level: float, first: int, most: int) -> float:
    """Return the chance that any look rejects where that at `most` pairs has this nominal level.

    Backward over the looks: at each, for values of the statistic below its boundary, the chance to reject later.
    """
    from scipy.integrate import trapezoid
    from scipy.special import betainc, stdtrit

    n = np.arange(first, most + 1)
    t = stdtrit(n - 1, 1 - np.minimum(level * (n / most) ** RISE, 1.0) / 2)
    bounds = t / np.sqrt(t**2 + n - 1)
    grid = [np.cos(np.linspace(np.arccos(bound), np.pi / 2, NODES)[::-1]) for bound in bounds]  # from 0 to the bound
    later = np.zeros(NODES)
    for i in reversed(range(len(n) - 1)):
        later = _later(grid[i], int(n[i]), float(bounds[i + 1]), grid[i + 1], later)
    # At the first look: the statistic is cos φ, and φ has the density sin^(first − 2).
    start, end = np.arccos(bounds[0]), np.pi / 2
    angles = np.linspace(start, end, 20 * NODES)
    density = np.sin(angles) ** (first - 2)
    rejected = float(betainc((first - 1) / 2, 0.5, 1 - bounds[0] ** 2))
    chance = np.interp(np.cos(angles), grid[0], later)
    weights = trapezoid(density, angles)
    return rejected + (1 - rejected) * float(trapezoid(density * chance, angles) / weights)


def _later(
    values: NDArray[np.float64], n: int, bound: float, at: NDArray[np.float64], chance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return, for (N,) values of the statistic at n pairs, the chance to reject at n + 1 pairs or later.

    bound: of the look at n + 1; chance: to reject after it, at values `at` of the statistic there.

    The next statistic is A·cos(ψ − ψ₀)/√(n + 1), with A² = n·value² + 1, tan ψ₀ = 1/(√n·value), and an angle ψ that has
    the density cos^(n − 1) in [−π/2, π/2], whatever came before.
    """
    length, middle = np.sqrt(n * values**2 + 1), np.arctan2(1.0, np.sqrt(n) * values)
    edge = np.arccos(np.minimum(bound * math.sqrt(n + 1) / length, 1.0))
    half = np.pi / 2
    low = np.maximum(middle - np.pi + edge, -half)  # rejected below, and between `left` and `right`
    left, right = np.minimum(middle - edge, half), np.minimum(middle + edge, half)
    stays = np.zeros(len(values))
    going_on = np.zeros(len(values))
    for start, end in ((low, left), (right, np.full(len(values), half))):
        width = np.maximum(end - start, 0.0)
        angles = start[:, None] + width[:, None] * (ARCS + 1) / 2
        density = np.cos(angles) ** (n - 1) * WEIGHTS * width[:, None] / 2
        following = np.abs(length[:, None] * np.cos(angles - middle[:, None])) / math.sqrt(n + 1)
        stays += density.sum(axis=1)
        going_on += (density * np.interp(following, at, chance)).sum(axis=1)
    whole = math.exp(math.lgamma(0.5) + math.lgamma(n / 2) - math.lgamma((n + 1) / 2))
    return np.asarray(1 - (stays - going_on) / whole)
