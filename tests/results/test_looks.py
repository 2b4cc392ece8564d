"""Looks at seeds: the error over all of them is what they say, and results claim no more than they allow."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results_folders import METRIC, Study
from scipy import stats

from ablate.errors import InputError
from ablate.kinds.looks import Looks
from ablate.kinds.seeding import Race, rejected
from ablate.results import load
from ablate.results.front import adjusted_means
from ablate.results.verdict import verdict

LOOKS = Looks(3, 10, 0.05)
LOCK = {"rule": "racing", "first": 3, "most": 10, "alpha": 0.05, "first_seed": 0}


def within(wrong: np.ndarray, level: float) -> bool:
    """Whether so many of so many are no more than the level allows: four binomial deviations."""
    return bool(wrong.mean() <= level + 4 * math.sqrt(level * (1 - level) / len(wrong)))


@pytest.mark.parametrize("looks", [LOOKS, Looks(3, 4, 0.05), Looks(5, 20, 0.01), Looks(3, 3, 0.05)])
def test_under_the_null_the_chance_that_any_look_rejects_is_the_level(looks: Looks) -> None:
    """Exactly, not at the most, so that nothing is given away."""
    p = looks.found(np.random.default_rng(0).standard_normal((100_000, looks.most))).p
    for level in (0.2, 0.05, 0.01, 0.05 / 15):
        assert abs(np.mean(p <= level) - level) < 4 * math.sqrt(level * (1 - level) / len(p)) + 0.01 * level


@pytest.mark.parametrize("candidates", [1, 5, 15])
def test_of_studies_without_a_difference_no_more_are_wrong_than_alpha_however_often_one_looks(candidates: int) -> None:
    draws = np.random.default_rng(candidates)
    values, base = draws.standard_normal((4000, candidates, 10)), draws.standard_normal((4000, 1, 10))
    p = LOOKS.found(values - base).p
    wrong = np.array([rejected(row, 0.05).any() for row in p])
    assert within(wrong, 0.05) and wrong.mean() > 0.025
    naive = np.array([stats.ttest_1samp((values - base)[..., :n], 0, axis=2).pvalue for n in range(3, 11)])
    assert not within((naive.min(axis=0) * candidates <= 0.05).any(axis=1), 0.05)


def test_a_single_look_is_student_s_t_test() -> None:
    delta = np.random.default_rng(1).standard_normal((50, 6)) + 1
    theirs = stats.ttest_1samp(delta, 0, axis=1)
    found = Looks(6, 6, 0.05).found(delta)
    assert found.p == pytest.approx(theirs.pvalue, rel=0.02)
    assert (found.sign == np.sign(delta.mean(axis=1))).all()
    low, high = theirs.confidence_interval(0.95)
    half = Looks(6, 6, 0.05).half_width(delta[0], 0.05)
    assert half == pytest.approx((high[0] - low[0]) / 2, rel=0.01)


def test_p_only_falls_as_pairs_are_added_and_heeds_none_after_a_gap() -> None:
    delta = np.random.default_rng(2).standard_normal((200, 10)) + 0.5
    steps = [LOOKS.found(np.where(np.arange(10) < n, delta, np.nan)).p for n in range(11)]
    assert all((later <= earlier * (1 + 1e-9)).all() for earlier, later in itertools.pairwise(steps))
    assert (steps[2] == 1).all() and (steps[10] < 1).any()
    gap = delta.copy()
    gap[:, 5] = np.nan
    assert np.array_equal(LOOKS.found(gap).p, steps[5])
    assert np.array_equal(LOOKS.found(delta[:, :2]).p, steps[2])


def test_the_scale_of_differences_does_not_matter_and_equal_ones_prove_little() -> None:
    delta = np.random.default_rng(3).standard_normal((20, 10)) + 1
    assert LOOKS.found(1e-200 * delta).p == pytest.approx(LOOKS.found(delta).p, rel=1e-6)
    assert LOOKS.found(np.zeros((1, 10))).p[0] == 1
    assert LOOKS.found(np.full((1, 3), 0.01)).p[0] == 1  # of three that are one and the same no deviation is known
    assert 0 < LOOKS.found(np.full((1, 10), 0.01)).p[0] < 0.05


@pytest.mark.parametrize(("first", "most", "alpha"), [(2, 5, 0.05), (5, 4, 0.05), (3, 101, 0.05), (3, 5, 0.0)])
def test_looks_that_are_none_are_refused(first: int, most: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="no looks are taken"):
        Looks(first, most, alpha)


def test_intervals_hold_at_all_looks_at_once() -> None:
    delta = np.random.default_rng(4).standard_normal((1500, 10))
    outside = np.zeros(len(delta), dtype=bool)
    for n in range(3, 11):
        half = np.array([LOOKS.half_width(row[:n], 0.05) for row in delta])
        outside |= np.abs(delta[:, :n].mean(axis=1)) > half
    assert within(outside, 0.05) and outside.mean() > 0.02
    assert math.isnan(LOOKS.half_width(delta[0, :2], 0.05))


def race(quality: np.ndarray, cost: np.ndarray, **more: object) -> Race:
    rows, nobody = np.arange(len(quality)), np.zeros(len(quality), dtype=bool)
    fields = {"baseline": 0, "contends": ~nobody, "able": nobody, "busy": nobody, **more}
    return Race(LOOKS, rows, quality, cost, **fields)  # type: ignore[arg-type]


def test_the_front_is_what_the_signs_imply() -> None:
    noise = 0.01 * np.random.default_rng(5).standard_normal((5, 10, 1))
    cost = np.array([[1.0], [2.0], [3.0], [3.0], [4.0]])
    shown = race(np.array([5.0, 4, 6, 3, 3.001])[:, None, None] + noise, cost)
    # the third is beaten by the second, which is cheaper; of the last two nobody knows which is better
    assert shown.on_front.tolist() == [1, 1, -1, 1, 0]
    assert shown.verdicts.tolist() == [0, -1, 1, -1, -1]
    assert [pair.tolist() for pair in np.nonzero(shown.open_pairs)] == [[4], [3]]
    lost = race(shown.quality, cost, contends=np.array([True, True, True, False, True]))
    assert lost.on_front.tolist() == [1, 1, -1, -1, 1]


def test_of_several_measured_objectives_one_that_is_better_keeps_a_candidate_on_the_front() -> None:
    noise = 0.01 * np.random.default_rng(6).standard_normal((3, 10, 2))
    shown = race(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 4.0]])[:, None] + noise, np.zeros((3, 0)))
    assert shown.on_front.tolist() == [1, 1, -1]


@pytest.mark.parametrize("candidates", [3])
def test_of_studies_of_equals_no_more_fronts_are_wrong_than_alpha(candidates: int) -> None:
    draws = np.random.default_rng(7)
    cost = np.arange(candidates, dtype=float)[:, None]
    shown = [race(draws.standard_normal((candidates, 10, 1)), cost).on_front for _ in range(600)]
    assert within(np.array([(front[1:] != 0).any() for front in shown]), 0.05)


def folder(path: Path, lock: object = LOCK, seeds: dict[str, int] | None = None) -> Path:
    """A study of which `good` is better by three deviations and `same` by none."""
    labels = {"adaln_zero": 0.0, "good": -3.0, "same": -0.2}
    study = Study(path).head({"seeding": lock, "choices": {"backbone.conditioning": list(labels)}})
    draws = np.random.default_rng(0)
    for label, effect in labels.items():
        for seed in range((seeds or {"good": 6}).get(label, 10)):
            value = 20 + effect + 0.7 * draws.standard_normal()
            study.trial({"backbone.conditioning": label}, seed, {METRIC: value}, gflops=0.1 + 0.2)
    return study.path


def test_effects_are_tested_by_the_looks_and_say_so(tmp_path: Path) -> None:
    looked, plain = load(folder(tmp_path / "looked")), load(folder(tmp_path / "plain", lock=None))
    ours, theirs = looked.effects().set_index("candidate"), plain.effects().set_index("candidate")
    delta = np.array([*looked.effects().attrs["differences"][ours.loc["good", "config_hash"]].values()])
    assert ours.loc["good", "n"] == len(delta) == 6
    assert ours.loc["good", "p"] == pytest.approx(LOOKS.found(delta).p)
    assert ours.loc["good", "p_holm"] < 0.05 < ours.loc["same", "p_holm"]
    assert ours.loc["good", "high"] < 0 and ours.loc["good", "low"] < theirs.loc["good", "low"]  # wider: at all looks
    assert theirs.loc["good", "p"] == 2 / 2**6
    assert looked.effects().attrs["alpha"] == 0.05 and "seeds were added while one looked" in ours.attrs["note"]
    text = verdict(looked)
    assert "the difference is distinguishable from chance" in text
    assert "Seeds were added while one looked (racing, 3 to 10 a candidate)" in text
    assert "no fixed-sample test is valid" in text and "good is shown to be on it" in text
    assert "looked" not in verdict(plain)
    shown = looked.race().set_index("candidate")
    assert shown["verdict"].isna().tolist() == [True, False, False] and shown.loc["good", "front"] == "on"
    assert shown["verdict"].dropna().tolist() == ["better", "open"]
    with pytest.raises(InputError, match="every candidate has those of its design"):
        plain.race()


def test_seeds_beyond_the_looks_or_after_a_gap_are_in_no_test(tmp_path: Path) -> None:
    path = folder(tmp_path / "gap", {**LOCK, "most": 5})
    assert set(load(path).effects()["n"]) == {5}
    late = folder(tmp_path / "late", {**LOCK, "first_seed": 4}, {"good": 6})
    table = load(late).effects().set_index("candidate")
    assert table.loc["good", "n"] == 2 and table.loc["good", "note"] == "the first look is at 3 pairs"
    assert table.loc["good", "p"] == 1 and table.loc["good", "smallest_p"] == 1


def test_equal_costs_stay_equal_over_other_numbers_of_seeds(tmp_path: Path) -> None:
    """The mean of six times 0.1 + 0.2 is not, to the last bit, that of ten: the front must not turn on it."""
    table = load(folder(tmp_path / "costs")).front(["kid", "gflops"])
    assert table["gflops"].nunique() == 1 and table["on_front"].sum() == 1


@pytest.mark.parametrize("damage", [{"most": 2}, {"alpha": "much"}, {"first_seed": None}])
def test_of_damaged_looks_no_p_is_given(tmp_path: Path, damage: dict[str, object]) -> None:
    results = load(folder(tmp_path / "damaged", {**LOCK, **damage}))
    with pytest.raises(InputError, match="which p-values are valid is not known"):
        results.effects()
    assert "No verdict" in verdict(results)
    assert "which p-values are valid is not known" in str(results.summary())


def test_means_over_other_seeds_are_adjusted_so_that_an_easy_seed_makes_nobody_the_best(tmp_path: Path) -> None:
    """`good` is better on each of its seeds; the one that it lacks is easy for all."""
    study = Study(tmp_path / "easy").head(
        {"seeding": LOCK, "choices": {"backbone.conditioning": ["adaln_zero", "good", "same"]}}
    )
    level = [20.0, 21.0, 20.5, 20.2, 1.0]
    for label, effect, seeds in (("adaln_zero", 0.0, 5), ("good", -0.5, 4), ("same", 0.1, 5)):
        for seed in range(seeds):
            value = level[seed] + effect + 0.01 * ((seed * len(label)) % 3)
            study.trial({"backbone.conditioning": label}, seed, {METRIC: value})
    results = load(study.path)
    table = results.front(["kid"]).set_index("candidate")[METRIC]
    assert table.idxmin() == "good"
    assert table["good"] - table["adaln_zero"] == pytest.approx(-0.5, abs=0.03)
    assert table["adaln_zero"] == pytest.approx(np.mean(level), abs=0.03)
    assert verdict(results).startswith("good has the best")
    assert "means as if all had the same seeds (least squares)" in str(results.summary())
    plain = load(Study(study.path).head({"choices": {"backbone.conditioning": ["adaln_zero", "good", "same"]}}).path)
    assert plain.front(["kid"]).set_index("candidate")[METRIC].idxmin() == "adaln_zero"


def test_least_squares_means_are_plain_ones_where_all_have_the_same_seeds_or_none_in_common() -> None:
    draws = np.random.default_rng(8).random(12)
    names = pd.Series(np.repeat(["a", "b", "c"], 4))
    same, apart = pd.Series(np.tile(range(4), 3)), pd.Series(range(12))
    for seeds in (same, apart):
        means = adjusted_means(pd.Series(draws), names, seeds)
        assert means.tolist() == pytest.approx(draws.reshape(3, 4).mean(axis=1).tolist())
