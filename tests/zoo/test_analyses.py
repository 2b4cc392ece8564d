"""The declared tests against statsmodels and scipy, with all seeds and with missing ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablate.discovery.catalog import catalog
from ablate.kinds.analysis import EXACT, Analysis, sign_flip_p
from ablate_zoo.analysis._two_way import _complete, _incomplete, fit

PLAIN = catalog().create(Analysis, {"type": "two_way", "variance": "pooled"})
GUARDED = catalog().create(Analysis, "two_way")
WELCH, PERMUTATION = (catalog().create(Analysis, name) for name in ("welch", "permutation"))


def study(seed: int, k: int = 5, n: int = 4, missing: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((1, k, n)) + rng.standard_normal((1, k, 1)) + rng.standard_normal((1, 1, n))
    for _ in range(missing):
        values[0, rng.integers(1, k), rng.integers(n)] = np.nan
    return values


def against_the_first(k: int) -> np.ndarray:
    return np.array([[i, 0] for i in range(1, k)])


def long(values: np.ndarray) -> pd.DataFrame:
    rows = [(i, j, v) for (i, j), v in np.ndenumerate(values[0])]
    return pd.DataFrame(rows, columns=["candidate", "seed", "value"]).dropna()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 5))
def test_the_plain_two_way_model_is_statsmodels(seed: int, missing: int) -> None:
    values = study(seed, missing=missing)
    there = np.isfinite(values[0]).any(axis=1)
    theirs = smf.ols("value ~ C(candidate) + C(seed)", long(values)).fit()
    ours = PLAIN.compare(values, against_the_first(5))
    names = [f"C(candidate)[T.{i}]" for i in range(1, 5)]
    for i, name in enumerate(names):
        if there[i + 1]:
            row = (ours.difference[0, i], ours.error[0, i], ours.p[0, i])
            assert row == pytest.approx((theirs.params[name], theirs.bse[name], theirs.pvalues[name]), rel=1e-6)
            low, high = theirs.conf_int(0.02).loc[name]
            assert ours.error[0, i] * ours.critical(0.02)[0, i] == pytest.approx((high - low) / 2)
        else:
            assert np.isnan(ours.p[0, i])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_two_ways_to_fit_are_one(seed: int) -> None:
    """The closed form of complete studies, and least squares with missing values, of a study without missing ones."""
    values = study(seed)
    values[0, 2] *= 20  # one that is left out of the common deviation
    one, other = _complete(values, against_the_first(5), 0.05), _incomplete(values[0], against_the_first(5), 0.05)
    for name in ("difference", "pooled", "df", "own", "own_df", "shared", "exact"):
        assert getattr(one, name) == pytest.approx(getattr(other, name)), name
    for name in ("variance", "df", "noisy", "p"):
        assert getattr(one.common, name) == pytest.approx(getattr(other.common, name)), name


def test_a_noisy_candidate_is_found_by_the_f_test_of_what_it_adds_to_the_residuals() -> None:
    for missing in (0, 3):
        values = study(7, missing=missing)
        whole = smf.ols("value ~ C(candidate) + C(seed)", long(values)).fit()
        found = fit(values, against_the_first(5), 0.05).common.p[0]
        for i in range(5):
            table = long(values)
            rest = smf.ols("value ~ C(candidate) + C(seed)", table[table["candidate"] != i]).fit()
            df = whole.df_resid - rest.df_resid
            if df == 0:  # one value alone leaves no residual
                assert found[i] == 1
                continue
            ratio = (whole.ssr - rest.ssr) / df / (rest.ssr / rest.df_resid)
            assert found[i] == pytest.approx(stats.f.sf(ratio, df, rest.df_resid), rel=1e-6)


def test_the_guard_never_trusts_more_than_the_plain_model_where_nobody_is_noisy() -> None:
    for seed in range(20):
        values, pairs = study(seed), against_the_first(5)
        if not fit(values, pairs, GUARDED.check).common.noisy.any():
            assert (GUARDED.compare(values, pairs).p >= PLAIN.compare(values, pairs).p - 1e-12).all()


def test_one_that_is_noisier_spoils_no_comparison_of_the_others() -> None:
    values = study(3, k=8, n=4)
    values[0, 1] += 100 * np.random.default_rng(0).standard_normal(4)
    rest = np.delete(values, 1, axis=1)
    found = GUARDED.compare(values, np.array([[2, 0]])).p[0, 0]
    assert found == pytest.approx(GUARDED.compare(rest, np.array([[1, 0]])).p[0, 0], rel=0.5)
    assert PLAIN.compare(values, np.array([[2, 0]])).p[0, 0] > 0.9
    said = GUARDED.assumptions(values[0], list("abcdefgh"))
    assert any("b is noisier than the others" in text for text in said), said


def test_of_two_candidates_all_models_are_the_paired_t_test() -> None:
    values = study(1, k=2, n=6)
    theirs = stats.ttest_rel(values[0, 1], values[0, 0]).pvalue
    for test in (PLAIN, GUARDED, WELCH):
        assert test.compare(values, np.array([[1, 0]])).p[0, 0] == pytest.approx(theirs)


def test_satterthwaite_lies_between_the_paired_and_the_unpaired_test() -> None:
    """Its degrees of freedom: n − 1 where one of the two has all the spread, up to twice that where they are alike."""
    for seed in range(10):
        found = fit(study(seed, k=12, n=5), against_the_first(12))
        assert (found.own_df > 4 - 1e-9).all() and (found.own_df < 8 + 1e-9).all()


differences = st.lists(st.integers(-50, 50), min_size=1, max_size=8).map(lambda d: np.array(d, dtype=float) / 8)


@given(differences.filter(lambda d: len(d) > 1))  # scipy refuses a single pair
@settings(deadline=None, max_examples=60)
def test_the_exact_permutation_test_is_scipy_s(delta: np.ndarray) -> None:
    paired = (delta + 3, np.full(len(delta), 3.0))
    theirs = stats.permutation_test(
        paired, lambda x, y, axis=-1: np.mean(x - y, axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(delta) == pytest.approx(min(theirs.pvalue, 1.0))


@pytest.mark.parametrize("n", range(1, EXACT + 1))
def test_the_smallest_p_of_a_permutation_is_reached_and_none_is_below(n: int) -> None:
    assert sign_flip_p(np.ones(n)) == PERMUTATION.smallest_p(n) == min(1.0, 2 / 2**n)
    drawn = np.random.default_rng(n).standard_normal((3, n))
    assert (sign_flip_p(drawn) >= PERMUTATION.smallest_p(n)).all()


def test_many_pairs_are_sampled_and_repeatable() -> None:
    delta = np.random.default_rng(0).normal(0.4, 1, 17)
    assert sign_flip_p(delta) == sign_flip_p(delta)
    assert sign_flip_p(delta) == pytest.approx(sign_flip_p(delta[:16]), abs=0.1)
    assert sign_flip_p(delta) == pytest.approx(stats.ttest_1samp(delta, 0).pvalue, abs=0.02)


def test_intervals_of_the_permutation_test_are_student_s() -> None:
    values = study(2, k=2, n=7)
    found = PERMUTATION.compare(values, np.array([[1, 0]]))
    theirs = stats.ttest_rel(values[0, 1], values[0, 0]).confidence_interval(0.95)
    half = found.error[0, 0] * found.critical(0.05)[0, 0]
    assert (found.difference[0, 0] - half, found.difference[0, 0] + half) == pytest.approx((theirs.low, theirs.high))


def test_a_metric_that_takes_few_values_is_judged_by_its_signs() -> None:
    """Where all differences are one and the same nothing is known of the deviation: p is no 0."""
    values = np.tile(np.array([1.0, 2.0, 2.0])[:, None], 3)[None]
    for test in (PLAIN, GUARDED, WELCH):
        found = test.compare(values, np.array([[1, 0], [2, 1]]))
        assert found.p[0].tolist() == [0.25, 1.0] and found.error[0].tolist() == [0, 0]


def test_the_bootstrap_follows_the_shape_of_the_residuals() -> None:
    """Of normal errors it is nearly Student's t, and with too few residuals it answers nothing."""
    bootstrap = catalog().create(Analysis, "bootstrap")
    values, pairs = study(5, k=10, n=8), against_the_first(10)
    assert bootstrap.compare(values, pairs).p == pytest.approx(PLAIN.compare(values, pairs).p, abs=0.03)
    few = bootstrap.compare(study(5, k=3, n=3), against_the_first(3))
    assert (few.p == 1).all() and "needs all seeds" in " ".join(bootstrap.assumptions(study(5, k=3, n=3)[0], "abc"))
