"""Effects against scipy and statsmodels, and what few seeds cannot show."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_folders import METRIC, Study, config_hash, measurement
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ablate.errors import InputError
from ablate.results import Results, frames, load
from ablate.results.effects import holm
from ablate.results.store import Stored
from ablate.results.verdict import verdict

differences = st.lists(st.integers(-50, 50), min_size=1, max_size=8).map(lambda d: np.array(d, dtype=float) / 8)


@given(differences.filter(lambda d: len(d) > 1))  # scipy refuses a single pair
@settings(deadline=None, max_examples=60)
def test_exact_p_is_scipy_s(delta: np.ndarray) -> None:
    paired = (delta + 3, np.full(len(delta), 3.0))
    theirs = stats.permutation_test(
        paired, lambda x, y, axis=-1: np.mean(x - y, axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert permutation_p(delta) == pytest.approx(min(theirs.pvalue, 1.0))


@given(differences)
def test_p_is_never_below_the_smallest(delta: np.ndarray) -> None:
    assert smallest_p(len(delta)) <= permutation_p(delta) <= 1


@pytest.mark.parametrize("n", range(1, 17))
def test_the_smallest_p_is_reached(n: int) -> None:
    assert permutation_p(np.ones(n)) == smallest_p(n) == min(1.0, 2 / 2**n)


def test_many_pairs_are_sampled_and_repeatable() -> None:
    delta = np.random.default_rng(0).normal(0.4, 1, 17)
    flips = np.array(list(itertools.product((-1, 1), repeat=17)), dtype=np.int8)
    exact = np.mean(np.abs(flips @ delta) >= abs(delta.sum()) - 1e-12)
    assert permutation_p(delta) == permutation_p(delta)
    # binomial error of the sampled p: four standard deviations
    assert permutation_p(delta) == pytest.approx(exact, abs=8 * math.sqrt(exact / 99_999))


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=10).map(np.array).filter(lambda d: d.std() > 1e-6))
def test_interval_is_scipy_s(delta: np.ndarray) -> None:
    theirs = stats.ttest_1samp(delta, 0).confidence_interval(0.95)
    assert t_interval(delta) == pytest.approx((theirs.low, theirs.high))


def test_interval_without_spread() -> None:
    assert t_interval(np.array([2.0, 2.0, 2.0])) == (2.0, 2.0)
    assert all(math.isnan(v) for v in t_interval(np.array([2.0])))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=8))
def test_holm_by_hand(p: list[float]) -> None:
    corrected = holm(np.array(p))
    assert [math.isnan(c) for c in corrected] == [math.isnan(x) for x in p]
    finite = sorted(x for x in p if not math.isnan(x))
    steps = np.minimum(np.maximum.accumulate([(len(finite) - i) * x for i, x in enumerate(finite)]), 1)
    assert sorted(c for c in corrected if not math.isnan(c)) == pytest.approx(list(steps))
    if finite:
        theirs = multipletests([x for x in p if not math.isnan(x)], method="holm")[1]
        assert [c for c in corrected if not math.isnan(c)] == pytest.approx(list(theirs))


def test_too_few_seeds_are_told() -> None:
    assert "with 3 pairs the smallest two-sided p is 0.25" in too_few(3, 1)
    assert too_few(6, 1) == ""
    assert "corrected for 3 comparisons 0.0938" in too_few(6, 3)
    for tests in range(1, 20):
        n = pairs_needed(tests)
        assert tests * smallest_p(n) < 0.05 <= tests * smallest_p(n - 1)


@pytest.mark.parametrize("tests", [1, 2, 9, 60, 150])
def test_so_many_seeds_can_decide(tests: int) -> None:
    """`pairs_needed` is the least with which one comparison of so many can fall below 0.05, if none other does."""
    noise = np.random.default_rng(tests).normal(size=(tests, 64))

    def smallest(n: int) -> float:
        p = [permutation_p(np.ones(n)), *(permutation_p(row[:n]) for row in noise[1:12])]
        return float(np.nanmin(holm(np.array([*p, *[1.0] * (tests - len(p))][:tests]))))

    assert smallest(pairs_needed(tests)) < 0.05 <= smallest(pairs_needed(tests) - 1)


def tables(rng: np.random.Generator, alternatives: int, seeds: int, means: Sequence[float] = ()) -> Results:
    """A study without files: the baseline and its alternatives, of means that are equal unless they are given."""
    labels = ["adaln_zero", *(f"other_{i}" for i in range(alternatives))]
    shared, rows, measured = rng.normal(size=seeds), [], []
    for i, label in enumerate(labels):
        for seed in range(seeds):
            digest = config_hash({"backbone.conditioning": label})
            trial = f"{digest[:12]}-s{seed}"
            value = (means[i] if means else 0.0) + 5 + shared[seed] + rng.standard_t(4)
            rows.append({"trial": trial, "config_hash": digest, "seed": seed, "state": "complete", "gflops": 1.0})
            rows[-1]["choices"] = {"backbone.conditioning": label}
            measured.append({**measurement(METRIC, value, 1000), "trial": trial})
    results = Results(Path("nowhere"))
    metrics = frames.metrics(measured)
    vars(results)["_stored"] = Stored(frames.trials(rows, metrics), metrics, frames.curves([]))
    lock = {"baseline": {"backbone.conditioning": "adaln_zero"}, "metrics": {"kid": METRIC}, "objectives": ["kid"]}
    vars(results).update(lock=lock, study={})
    return results


CLAIM = r"distinguishably|is distinguishable from chance|\b(better|worse)\b"


@pytest.mark.parametrize(("alternatives", "seeds", "studies"), [(3, 3, 20), (9, 8, 40), (3, 9, 40)])
def test_the_verdict_names_a_difference_in_no_more_than_one_study_in_twenty_that_has_none(
    alternatives: int, seeds: int, studies: int
) -> None:
    rng = np.random.default_rng([alternatives, seeds])
    claims, apart = 0, 0
    for _ in range(studies):
        results = tables(rng, alternatives, seeds)
        claims += bool(re.search(CLAIM, verdict(results)))
        effects = results.effects()
        apart += bool(((effects["low"] > 0) | (effects["high"] < 0)).any())
    most = stats.binom.ppf(0.999, studies, 0.05)  # so many, were it one in twenty
    assert claims <= most
    assert apart <= most, "the intervals are to hold for all comparisons at once"


def test_what_differs_is_still_told() -> None:
    text = verdict(tables(np.random.default_rng(0), 2, 9, means=[0, 8, 30]))
    assert "other_0 and other_1 are distinguishably worse" in text


def test_of_two_collapsed_models_none_is_called_better(study: Study) -> None:
    study.head()
    for seed in range(3):
        study.trial(name("adaln_zero"), seed, {METRIC: 27.42 + 0.001 * seed})
        study.trial(name("adaln"), seed, {METRIC: 27.37 + 0.0011 * seed})
    assert not re.search(CLAIM, verdict(load(study.path)))


def name(label: str) -> dict[str, str]:
    return {"backbone.conditioning": label}


def fill(study: Study, values: dict[str, dict[int, float]]) -> None:
    for label, of in values.items():
        for seed, value in of.items():
            study.trial(name(label), seed, {METRIC: value})


def test_pairs_by_seed(study: Study) -> None:
    study.head()
    fill(study, {"adaln_zero": {0: 1.0, 1: 2.0, 2: 4.0}, "adaln": {2: 5.0, 1: 2.5, 7: 100.0}, "in_context": {9: 1.0}})
    effects = load(study.path).effects()
    by = effects.set_index("candidate")
    assert list(effects["candidate"]) == ["adaln", "in_context"]
    row = by.loc["adaln"]
    assert (row["n"], row["difference"], row["mean"], row["baseline_mean"]) == (2, 0.75, 3.75, 3.0)
    assert (row["p"], row["p_holm"], row["smallest_p"]) == (0.5, 0.5, 0.5)
    half = stats.t.ppf(0.975, 1) * np.std([0.5, 1.0], ddof=1) / 2**0.5
    assert (row["low"], row["high"]) == pytest.approx((0.75 - half, 0.75 + half))
    assert by.loc["in_context", "n"] == 0
    assert np.isnan(by.loc["in_context", "p_holm"])
    assert "no pair" in by.loc["in_context", "note"]
    assert "with 2 pairs" in effects.attrs["note"]


def test_diverged_seeds_are_reported(study: Study) -> None:
    study.head()
    fill(study, {"adaln_zero": {0: 1.0, 1: 2.0}, "adaln": {0: 0.5}})
    study.trial(name("adaln"), 1, state="diverged")
    study.trial(name("in_context"), 0, {METRIC: -9.0}, state="diverged")
    effects = load(study.path).effects()
    assert list(effects["candidate"]) == ["adaln", "in_context"]
    assert list(effects["diverged"]) == [1, 1]
    assert list(effects["n"]) == [1, 0]
    assert "1 diverged" in effects["note"][0]


def test_the_baseline_can_be_chosen(conditioning: Study) -> None:
    results = load(conditioning.path)
    adaln = next(c for c in results.candidates if c.label == "adaln")
    for baseline in (name("adaln"), "adaln", adaln.config_hash, adaln.config_hash[:8]):
        effects = results.effects("kid", baseline)
        assert effects.attrs["baseline"] == "adaln"
        assert set(effects["candidate"]) == {"adaln_zero", "in_context", "cross_attention"}
    with pytest.raises(InputError, match="did you mean 'adaln'"):
        results.effects("kid", "adalm")
    with pytest.raises(InputError, match="no candidate is"):
        results.effects("kid", name("film"))


def test_without_a_baseline_it_has_to_be_named(study: Study) -> None:
    study.head(lock={"baseline": {}})
    fill(study, {"adaln_zero": {0: 1.0}, "adaln": {0: 2.0}})
    results = load(study.path)
    with pytest.raises(InputError, match=r"name another one of: adaln, adaln_zero"):
        results.effects()
    assert results.effects(baseline="adaln")["difference"].tolist() == [-1.0]
    assert "no trial of the baseline" in results.summary(plain=True)


def test_costs_have_effects_too(conditioning: Study) -> None:
    row = load(conditioning.path).effects("gflops").set_index("candidate").loc["cross_attention"]
    assert row["difference"] == pytest.approx(0.5293 - 0.4502)
    assert row["high"] - row["low"] == pytest.approx(0, abs=1e-12)


def test_larger_is_better_turns_the_order(study: Study) -> None:
    study.head(lock={"larger_is_better": [METRIC]})
    fill(study, {"adaln_zero": {0: 1.0}, "adaln": {0: 2.0}, "in_context": {0: 0.0}})
    assert list(load(study.path).effects()["candidate"]) == ["adaln", "in_context"]
