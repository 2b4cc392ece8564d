"""Effects against scipy and statsmodels, and what few seeds cannot show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from results_folders import METRIC, Study, config_hash, measurement
from scipy import stats

from ablate.errors import InputError
from ablate.kinds.analysis import sign_flip_p
from ablate.results import Results, frames, load
from ablate.results.declared import Undeclared, named
from ablate.results.effect_notes import pairs_needed, too_few
from ablate.results.store import Stored
from ablate.results.verdict import verdict
from ablate.statistics.correction import holm

PERMUTATION = Undeclared()


def test_too_few_seeds_are_told() -> None:
    assert "with 3 pairs the smallest two-sided p is 0.25" in too_few(PERMUTATION, 3, 1)
    assert too_few(PERMUTATION, 6, 1) == ""
    assert "corrected for 3 comparisons 0.0938" in too_few(PERMUTATION, 6, 3)
    for tests in (1, 3, 19):
        n = pairs_needed(PERMUTATION, tests)
        assert tests * PERMUTATION.smallest_p(n) < 0.05 <= tests * PERMUTATION.smallest_p(n - 1)
    assert too_few(named("two_way"), 2, 100) == "" and "it takes 2 seeds" in too_few(named("two_way"), 1, 1)


@pytest.mark.parametrize("tests", [1, 9, 150])
def test_so_many_seeds_can_decide(tests: int) -> None:
    """`pairs_needed` is the least with which one comparison of so many can fall below 0.05, if none other does."""
    noise = np.random.default_rng(tests).normal(size=(tests, 64))

    def smallest(n: int) -> float:
        p = [float(sign_flip_p(np.ones(n))), *sign_flip_p(noise[1:12, :n])]
        return float(np.nanmin(holm(np.array([*p, *[1.0] * (tests - len(p))][:tests]))))

    needed = pairs_needed(PERMUTATION, tests)
    assert smallest(needed) < 0.05 <= smallest(needed - 1)


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


@pytest.mark.parametrize(
    ("alternatives", "seeds", "studies"),
    [(3, 3, 20), *(pytest.param(*many, marks=pytest.mark.thorough) for many in ((9, 8, 40), (3, 9, 40)))],
)
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
