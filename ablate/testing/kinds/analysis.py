"""Checks of an analysis: it errs no more often than it says, finds what is plain, and depends on the numbers alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ablate.kinds.analysis import Analysis, Compared
from ablate.testing.case import Case, Check

CANDIDATES, SEEDS, STUDIES = 4, 7, 250
PAIRS = np.array([[1, 0], [2, 0], [3, 0]])
LEVEL = 0.05
MOST = 0.11  # share of so many studies above which the level is not held: four standard errors
COVERED = 0.9  # least share of 95 % intervals that hold the truth
PLAIN = 1000.0  # deviations
DRAWN = 0.03  # by so much p may differ where a test draws at random


def holds_its_level(case: Case) -> None:
    """Of studies of equal candidates, no more than a share of 0.05 has a p, times the comparisons, below 0.05."""
    for part in _parts(case):
        p = _of_equals(part).p
        share = float(np.mean(np.nanmin(np.where(np.isnan(p), 1.0, p), axis=1) * len(PAIRS) < LEVEL))
        assert share <= MOST, f"{part!r}: names a difference in {share:.0%} of studies of equals"


def finds_what_is_plain(case: Case) -> None:
    """A difference of a thousand deviations has nearly the smallest p that the seeds can give, and the right size."""
    for part in _parts(case):
        values = _studies(8)
        values[:, 1] += PLAIN
        found = part.compare(values, PAIRS)
        least = part.smallest_p(SEEDS)
        assert (found.p[:, 0] <= 2 * least + 1e-3).all(), (
            f"{part!r}: of a plain difference p is {found.p[:, 0].max():.3g}"
        )
        assert np.allclose(found.difference[:, 0], PLAIN, atol=10), (
            f"{part!r}: takes {PLAIN} for {found.difference[0, 0]}"
        )


def intervals_hold_what_is_true(case: Case) -> None:
    """Its intervals of 95 % hold the true difference in nine tenths of all studies at the least."""
    for part in _parts(case):
        found = _of_equals(part)
        half = found.error * found.critical(LEVEL)
        known = np.isfinite(half)
        if known.any():
            share = float(np.mean((np.abs(found.difference) <= half)[known]))
            assert share >= COVERED, f"{part!r}: its 95 % intervals hold what is true in {share:.0%}"


def tests_another_difference(case: Case) -> None:
    """To test for a difference is to test for none after the first candidate was moved by as much."""
    for part in _parts(case):
        values = _studies(20)
        moved = values.copy()
        moved[:, 1] -= 0.7
        one = part.compare(values, PAIRS[:1], 0.7).p
        other = part.compare(moved, PAIRS[:1]).p
        _same(one, other, f"{part!r}: a null of 0.7 is not that of values that are 0.7 lower")


def pairs_by_seed(case: Case) -> None:
    """What a seed does to all candidates alike cancels; so do the unit and the zero of the metric."""
    for part in _parts(case):
        values = _studies(20)
        shifted = 3.0 * values + 100.0 * np.random.default_rng(1).standard_normal((20, 1, SEEDS))
        one, other = part.compare(values, PAIRS), part.compare(shifted, PAIRS)
        _same(one.p, other.p, f"{part!r}: p depends on what seeds do to all, or on the unit")
        _same(3.0 * one.difference, other.difference, f"{part!r}: a difference depends on what seeds do to all")


def depends_on_no_order(case: Case) -> None:
    """Seeds and candidates may come in any order; a pair that is turned round has the same p."""
    for part in _parts(case):
        values = _studies(20)
        one = part.compare(values, PAIRS)
        seeds = part.compare(values[:, :, ::-1], PAIRS)
        rows = part.compare(values[:, ::-1], CANDIDATES - 1 - PAIRS)
        turned = part.compare(values, PAIRS[:, ::-1])
        for other, what in ((seeds, "seeds"), (rows, "candidates"), (turned, "the two of a pair")):
            assert np.allclose(one.p, other.p, atol=DRAWN), f"{part!r}: p depends on the order of {what}"
        assert np.allclose(one.difference, -turned.difference), f"{part!r}: turned round, a difference keeps its sign"


def judges_each_study_by_itself(case: Case) -> None:
    """Several studies at once come to the same as each alone, each time, and are not changed."""
    for part in _parts(case):
        values = _studies(5)
        before = values.copy()
        together = part.compare(values, PAIRS)
        alone = [part.compare(one[None], PAIRS) for one in values]
        again = part.compare(values, PAIRS)
        assert np.array_equal(values, before), f"{part!r}: changes the values that it is given"
        _same(together.p, again.p, f"{part!r}: gives another p each time")
        _same(together.p, np.concatenate([one.p for one in alone]), f"{part!r}: one study's p depends on the others")


def takes_what_is_missing(case: Case) -> None:
    """With missing values it answers what can be answered; of one seed p is 1, and without a value there is none."""
    for part in _parts(case):
        values = _studies(1)
        values[0, 1, 3] = values[0, 2, :5] = values[0, 3] = np.nan
        found = part.compare(values, PAIRS)
        _shapes(part, found, (1, len(PAIRS)))
        assert np.isfinite(found.p[0, :2]).all(), f"{part!r}: has no p where two candidates share seeds"
        assert np.isnan(found.p[0, 2]), f"{part!r}: gives a p of a candidate without a value"
        single = part.compare(_studies(3)[:, :, :1], PAIRS)
        _shapes(part, single, (3, len(PAIRS)))
        assert (single.p == 1).all(), f"{part!r}: tells candidates apart by one seed"
        part.assumptions(values[0], list("abcd"))


def _parts(case: Case) -> list[Analysis]:
    return [part for part in case.variants() if isinstance(part, Analysis)]


@lru_cache(maxsize=4)
def _of_equals(part: Analysis) -> Compared:
    return part.compare(_studies(), PAIRS)


def _studies(studies: int = STUDIES) -> NDArray[np.float64]:
    """(studies, candidates, seeds) of equal candidates: normal errors, and seeds that move all of them."""
    generator = np.random.default_rng(0)
    shape = (studies, CANDIDATES, SEEDS)
    return generator.standard_normal(shape) + 2 * generator.standard_normal((studies, 1, SEEDS))


def _shapes(part: Analysis, found: Compared, shape: tuple[int, int]) -> None:
    for name in ("difference", "error", "p"):
        given = getattr(found, name)
        assert given.shape == shape, f"{part!r}: its {name} is of shape {given.shape}, not {shape}"
    assert np.shape(found.critical(LEVEL)) in (shape, ()), f"{part!r}: its critical values are not of shape {shape}"


def _same(one: NDArray[np.float64], other: NDArray[np.float64], what: str) -> None:
    assert np.allclose(one, other, rtol=1e-5, atol=1e-8, equal_nan=True), what


CHECKS: tuple[Check, ...] = (
    holds_its_level,
    finds_what_is_plain,
    intervals_hold_what_is_true,
    tests_another_difference,
    pairs_by_seed,
    depends_on_no_order,
    judges_each_study_by_itself,
    takes_what_is_missing,
)
