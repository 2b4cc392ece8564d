"""Answers: corrections and equivalence against statsmodels, ranks against scipy, looks by what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from ablate.discovery.catalog import catalog
from ablate.kinds.analysis import Analysis
from ablate.statistics.answers import Look, answers, rank_p
from ablate.statistics.correction import holm, shares_of_looks
from ablate.statistics.rates import clopper_pearson

TWO_WAY = catalog().create(Analysis, "two_way")
ONE = np.array([[1, 0]])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=8))
def test_holm_is_statsmodels_and_counts_no_missing_p(p: list[float]) -> None:
    corrected = holm(np.array(p))
    assert [math.isnan(c) for c in corrected] == [math.isnan(x) for x in p]
    if finite := [x for x in p if not math.isnan(x)]:
        theirs = multipletests(finite, method="holm")[1]
        assert [c for c in corrected if not math.isnan(c)] == pytest.approx(list(theirs))


def test_holm_corrects_each_study_of_several_by_itself() -> None:
    p = np.random.default_rng(0).random((5, 7)) ** 3
    p[2, 3] = np.nan
    assert np.array_equal(holm(p), np.array([holm(row) for row in p]), equal_nan=True)


@given(st.lists(st.integers(2, 40), min_size=1, max_size=6, unique=True), st.none() | st.integers(2, 40))
def test_looks_never_spend_more_than_there_is(seeds: list[int], most: int | None) -> None:
    shares = shares_of_looks(sorted(seeds), most)
    assert all(share >= 0 for share in shares) and sum(shares) <= 1 + 1e-12
    if most is not None and max(seeds) >= most:
        assert sum(shares) == pytest.approx(1), "who comes to the end has spent all"


def test_equivalence_is_two_one_sided_tests() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.4, 1.5):
        values = rng.standard_normal((1, 2, 9)) + np.array([0.0, shift])[:, None]
        found = answers(TWO_WAY, values, ONE, delta=1.0)
        theirs, _, _ = ttost_paired(values[0, 1], values[0, 0], -1.0, 1.0)
        assert found.equivalent[0, 0] == pytest.approx(theirs)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 9))
def test_ranks_are_wilcoxon_s_and_a_run_that_diverged_is_the_worst(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((2, n))
    assert rank_p(first, second)[0] == pytest.approx(stats.wilcoxon(first, second, method="exact").pvalue)
    lost = first.copy()
    lost[0] = np.inf
    high = first.copy()
    high[0] = second[0] + 100  # any number above all others has the same rank
    assert rank_p(lost, second) == rank_p(high, second)
    assert rank_p(lost, lost)[0] == 1


def test_a_candidate_that_diverges_where_the_baseline_does_not_is_told_worse() -> None:
    values = np.random.default_rng(0).standard_normal((1, 3, 8))
    values[0, 2] = np.inf
    ranked = np.array([False, False, True])
    found = answers(TWO_WAY, values, np.array([[1, 0], [2, 0]]), ranked=ranked)
    assert found.p[0, 1] == 2 / 2**8 and found.sign[0, 1] == 1 and found.corrected[0, 1] < 0.05
    assert np.isnan(found.difference[0, 1]) and np.isfinite(found.difference[0, 0])
    other = answers(TWO_WAY, values[:, :2], ONE)
    assert found.p[0, 0] == other.p[0, 0], "what diverged says nothing of the spread of the others"


def test_what_an_early_look_told_is_kept_and_later_looks_are_corrected() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((1, 2, 10))
    values[0, 1, :5] -= 20
    values[0, 1, 5:] += 20  # what five seeds show, ten do not
    early = Look(np.arange(10) < 5, 0.8)
    late = Look(np.ones(10, dtype=bool), 0.16)
    first, both = answers(TWO_WAY, values, ONE, looks=[early]), answers(TWO_WAY, values, ONE, looks=[early, late])
    alone = answers(TWO_WAY, values, ONE)
    assert first.corrected[0, 0] == pytest.approx(answers(TWO_WAY, values[:, :, :5], ONE).p[0, 0] / 0.8)
    assert both.corrected[0, 0] == first.corrected[0, 0] < 0.05 < alone.p[0, 0] and both.sign[0, 0] == -1
    assert both.p[0, 0] == alone.p[0, 0], "p by itself is that of all seeds"
    assert both.high[0, 0] - both.low[0, 0] > alone.high[0, 0] - alone.low[0, 0]


@pytest.mark.parametrize(("count", "of"), [(0, 3), (1, 3), (3, 3), (7, 40)])
def test_a_rate_has_its_exact_interval(count: int, of: int) -> None:
    assert clopper_pearson(count, of) == pytest.approx(proportion_confint(count, of, method="beta"))
