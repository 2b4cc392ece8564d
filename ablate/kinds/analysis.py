"""analysis: the statistical test on which a study's verdict stands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ablate.spec.component import Component

EXACT = 16  # pairs up to which all 2ⁿ sign flips are enumerated
RESAMPLES = 99_999
BLOCK = 2**22  # numbers of one table of flips that are in memory at once


@dataclass(frozen=True)
class Compared:
    """What a test says of m comparisons in each of b studies; NaN where there is nothing to compare."""

    difference: NDArray[np.float64]  # (b, m) estimate of first − second
    error: NDArray[np.float64]  # (b, m) its standard error; NaN where the seeds say nothing of it
    p: NDArray[np.float64]  # (b, m) two-sided, of each comparison by itself
    critical: Callable[[float], NDArray[np.float64]]
    """level -> (b, m): so many standard errors on each side of the difference are its interval of 1 − level"""


class Analysis(Component):
    """Compares candidates over their seeds: a significance test, with intervals.

    A study names one before it runs, and its verdict uses that one alone. The correction for many comparisons, the
    equivalence within a margin and the looks at fewer seeds are the framework's, and the same for all tests.
    """

    kind: ClassVar[str] = "analysis"
    called: ClassVar[str] = ""  # in sentences: "the paired permutation test"
    borrows: ClassVar[bool] = False  # whether other candidates' seeds tell how far values scatter: then one pair may do

    @abstractmethod
    def compare(self, values: NDArray[np.float64], pairs: NDArray[np.int64], null: float = 0.0) -> Compared:
        """Compare pairs of candidates in b studies at once, (b, k, n) values of k candidates with n seeds each.

        Column j is the same seed for all candidates, so what it does to all of them cancels. NaN where a candidate has
        no value. pairs: (m, 2) rows of values. null: the difference, first − second, that p tests. Does not change
        its arguments, draws nothing at random that is not the same each time, and must hold its level: of studies of
        equal candidates a share of `a` has p ≤ a, at most, for the assumptions that it names.
        """

    def assumptions(self, values: NDArray[np.float64], names: Sequence[str]) -> tuple[str, ...]:
        """Return sentences on what was assumed of one study's (k, n) values, and whether that can be seen to hold."""
        return ()

    def smallest_p(self, seeds: int) -> float:
        """Return the smallest p of one comparison that so many seeds can give, whatever was measured."""
        return 0.0 if seeds > 1 else 1.0


class PairedPermutation(Analysis):
    """The permutation test of each pair's mean difference over the seeds that both have: sign flips (Fisher 1935).

    Standard errors and intervals are Student's t of the paired differences.
    """

    called: ClassVar[str] = "paired permutation test"

    def compare(self, values: NDArray[np.float64], pairs: NDArray[np.int64], null: float = 0.0) -> Compared:
        """(b, k, n) values and (m, 2) pairs -> differences, errors and p, (b, m)."""
        from scipy.special import stdtrit  # scipy.stats has it too, and takes a second to import

        delta = values[:, pairs[:, 0]] - values[:, pairs[:, 1]]  # (b, m, n)
        there = np.isfinite(delta)
        n = there.sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(there, delta, 0.0).sum(axis=2) / n
            squares = (np.where(there, delta - mean[:, :, None], 0.0) ** 2).sum(axis=2)
            error = np.where(n > 1, np.sqrt(squares / (n - 1) / n), np.nan)
        p = np.full(n.shape, np.nan)
        for count in np.unique(n[n > 0]):
            rows = n == count
            p[rows] = sign_flip_p(delta[rows][there[rows]].reshape(-1, count), null)
        df = np.where(n > 1, n - 1.0, np.nan)

        def critical(level: float) -> NDArray[np.float64]:
            return np.asarray(stdtrit(df, 1 - level / 2))

        return Compared(np.where(n > 0, mean, np.nan), error, p, critical)

    def smallest_p(self, seeds: int) -> float:
        """2/2ⁿ: only the observed signs, and their opposite, are as far from 0."""
        return float(2.0 ** (1 - seeds))


def sign_flip_p(delta: NDArray[np.float64], null: float = 0.0) -> NDArray[np.float64]:
    """Return the two-sided p of the paired permutation test of the mean of (..., n) differences, without NaN.

    The share of the 2ⁿ sign flips of the differences less `null` whose mean is at least as far from 0 as the observed
    one (Fisher's randomisation test); beyond 16 pairs a sample of them, with the same seed each time. 1 for one pair,
    of which both signs are as far from 0; NaN for none.
    """
    n = delta.shape[-1]
    if n < 2:
        return np.full(delta.shape[:-1], 1.0 if n else np.nan)
    rows = delta.reshape(-1, n) - null
    if n > EXACT:
        return np.array([_sampled(row) for row in rows]).reshape(delta.shape[:-1])
    flips = _flips(n)
    observed, rounding = np.abs(rows.sum(axis=1)), 1e-9 * np.abs(rows).sum(axis=1)  # equal but for rounding counts
    p = np.empty(len(rows))
    step = max(1, BLOCK // len(flips))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        p[part] = (np.abs(rows[part] @ flips.T) >= (observed - rounding)[part, None]).mean(axis=1)
    return p.reshape(delta.shape[:-1])


@lru_cache(maxsize=EXACT)
def _flips(n: int) -> NDArray[np.float64]:
    """(2ⁿ⁻¹, n) signs: every flip has an opposite that is as far from 0, so the first may stay as it is."""
    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    return np.asarray(1.0 - 2.0 * bits[:, ::-1], dtype=np.float64)


def _sampled(delta: NDArray[np.float64]) -> float:
    from scipy import stats  # takes a second to import

    drawn = stats.permutation_test(
        (delta,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    return float(drawn.pvalue)
