"""How sure a front is: the two-way layout, the spread, membership, attainment, hypervolume with its interval."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from results_folders import METRIC, Study
from scipy.special import polygamma

from ablate.errors import InputError
from ablate.results import Results, load
from ablate.results.front import hypervolume, nondominated
from ablate.results.fronts.attainment import surfaces
from ablate.results.fronts.drawn_fronts import undominated
from ablate.results.fronts.probable import draw_means, read_seeds
from ablate.results.fronts.spread import NoSpreadError, _inverse_trigamma, spread_of
from ablate.results.fronts.two_way import two_way
from ablate.results.numbers import percent

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.mark.parametrize(("candidates", "seeds", "lost"), [(5, 3, 0.0), (6, 4, 0.3), (100, 3, 0.0), (3, 2, 0.0)])
def test_the_two_way_layout_is_that_of_statsmodels(candidates: int, seeds: int, lost: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(candidates, 1)) + rng.normal(size=seeds) + 0.1 * rng.normal(size=(candidates, seeds))
    values[rng.random(values.shape) < lost] = np.nan
    layout = two_way(values)
    frame = pd.DataFrame([(i, j, v) for (i, j), v in np.ndenumerate(values)], columns=["c", "s", "y"]).dropna()
    theirs = smf.ols("y ~ C(c) + C(s)", frame).fit()
    assert layout.shared and layout.squares.sum() == pytest.approx(theirs.ssr)
    assert layout.total_degrees == pytest.approx(theirs.df_resid)
    every = pd.DataFrame([(i, j) for i in range(candidates) for j in range(seeds)], columns=["c", "s"])
    means = theirs.predict(every).groupby(every["c"]).mean().to_numpy()  # as if each had all seeds
    there = np.isfinite(layout.means)
    assert layout.means[there] == pytest.approx(means[there])


def test_seeds_that_nobody_shares_are_noise() -> None:
    layout = two_way(np.array([[1.0, 2.0, np.nan, np.nan], [np.nan, np.nan, 5.0, 9.0]]))
    assert not layout.shared and layout.means.tolist() == [1.5, 7.0]
    assert layout.squares.tolist() == [0.5, 8.0] and layout.degrees.tolist() == [1.0, 1.0]


@given(st.floats(1e-3, 1e3))
def test_the_inverse_of_trigamma(x: float) -> None:
    assert _inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)


def test_spreads_that_differ_are_told_apart_and_equal_ones_are_pooled() -> None:
    rng = np.random.default_rng(0)
    equal = spread_of(two_way(rng.normal(size=(30, 4))))
    own = np.repeat([0.2, 3.0], 15)
    unequal = spread_of(two_way(own[:, None] * rng.normal(size=(30, 4))))
    assert equal.prior > 20 and np.ptp(equal.variances) < 0.5 * equal.variances.mean()
    assert unequal.prior < 5 and unequal.variances[15:].min() > 2 * unequal.variances[:15].max()


@pytest.mark.parametrize("values", [[[1.0], [2.0], [3.0]], [[1.0, 1.2], [2.0, 2.1], [3.0, 3.2]]])
def test_a_spread_that_is_not_known_is_not_guessed(values: list[list[float]]) -> None:
    with pytest.raises(NoSpreadError, match=r"one seed each|too few seeds"):
        read_seeds(np.array(values))


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_draws_with_one_known_cost_have_the_same_front_as_in_general(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    quality, cost = rng.integers(0, 4, (5, n)).astype(float), rng.integers(0, 3, n).astype(float)
    expected = [nondominated(np.column_stack([row, cost])) for row in quality]
    assert undominated(quality, cost).tolist() == np.array(expected).tolist()


@pytest.mark.parametrize(("seeds", "noise"), [(1, "normal"), (2, "skewed"), (3, "normal"), (3, "unequal")])
def test_what_is_told_with_a_probability_comes_true_as_often(seeds: int, noise: str) -> None:
    """The small form of `benchmarks/front_calibration.py`."""
    from front_calibration import Scenario, errors, reliability

    table = reliability(Scenario(seeds, noise=noise), studies=80)
    by_method = {name: errors(rows)[0] for name, rows in table.groupby("method")}
    assert by_method["probable"] < 0.03
    assert by_method["means"] > 0.08 and by_method["bootstrap"] > by_method["probable"], "else nothing is gained"


def test_the_best_of_many_is_drawn_towards_the_others() -> None:
    rng, errors_, shrunk = np.random.default_rng(0), [], []
    for _ in range(60):
        true = np.exp(0.1 * rng.normal(size=30))
        values = true[:, None] * np.exp(0.1 * rng.normal(size=(30, 2)))
        drawn = draw_means(read_seeds(values), np.ones(30), rng, 500)
        best = int(values.mean(axis=1).argmin())
        errors_.append(values[best].mean() / true[best] - 1)
        shrunk.append(drawn[:, best].mean() / true[best] - 1)
    assert np.mean(errors_) < -0.05 and abs(np.mean(shrunk)) < 0.02


COSTS = {"adaln_zero": 1.0, "adaln": 2.0, "cross": 3.0, "in_context": 4.0, "late": 5.0}


def filled(study: Study, seeds: int = 3, **head: object) -> Results:
    """Four candidates: the first is on the front for sure, `cross` is not, `in_context` may be; `late` is not run."""
    study.head(**head)  # type: ignore[arg-type]
    means = {"adaln_zero": 2.0, "adaln": 1.0, "cross": 1.6, "in_context": 0.99}
    rng = np.random.default_rng(1)
    for name, mean in means.items():
        for seed in range(seeds):
            study.trial(
                {"backbone.conditioning": name}, seed, {METRIC: mean * np.exp(0.02 * rng.normal())}, gflops=COSTS[name]
            )
    study.trial({"backbone.conditioning": "late"}, 0, state="failed", gflops=COSTS["late"])
    return load(study.path)


def test_a_probability_is_never_told_as_certain() -> None:
    shares = (0.0, 0.005, 0.006, 0.5, 0.994, 0.995, 1.0)
    assert [percent(x) for x in shares] == ["< 1 %", "< 1 %", "1 %", "50 %", "99 %", "> 99 %", "> 99 %"]


def test_the_probability_of_being_on_the_front(study: Study) -> None:
    table = filled(study).membership().set_index("candidate")
    chances = table["probability"]
    assert chances["adaln_zero"] == 1.0 and chances["adaln"] > 0.99 and chances["cross"] < 0.01
    assert 0.1 < chances["in_context"] < 0.9 and np.isnan(chances["late"])
    assert load(study.path).membership().equals(load(study.path).membership()), "the same folder gives the same numbers"
    summary = load(study.path).summary(plain=True)
    assert "● > 99 %" in summary


def test_who_lost_a_seed_or_breaks_a_constraint_is_on_no_front(study: Study) -> None:
    filled(study, lock={"constraints": {"gflops": {"at_most": 1.5}}})
    study.trial({"backbone.conditioning": "late"}, 1, state="diverged", gflops=0.1)
    study.trial({"backbone.conditioning": "late"}, 2, {METRIC: 0.01}, gflops=0.1)
    table = load(study.path).membership().set_index("candidate")
    assert table.loc[["adaln", "late"], "probability"].tolist() == [0, 0]
    assert table.loc["adaln_zero", "probability"] == 1.0


def test_without_seeds_no_probability_is_told_and_why(study: Study) -> None:
    results = filled(study, seeds=1)
    table = results.membership()
    assert table["probability"].isna().all() and "one seed each" in table.attrs["note"]
    found = results.hypervolume()
    assert found.value > 0 and np.isnan(found.low) and "one seed each" in found.note
    with pytest.raises(NoSpreadError):
        results.attainment()


def test_a_count_is_resampled_and_no_normal_value(study: Study) -> None:
    """`spikes` is 0 with all seeds of most candidates: no draw makes less of it."""
    study.head(lock={"objectives": ["kid", "spikes"]})
    for i, name in enumerate(("adaln_zero", "adaln", "cross", "in_context")):
        for seed in range(3):
            spikes = float(name == "cross" and seed)
            study.trial(
                {"backbone.conditioning": name}, seed, {METRIC: 1 + i + 0.1 * seed * i}, probes={"spikes": spikes}
            )
    table = load(study.path).membership().set_index("candidate")
    assert table.loc[["adaln_zero", "cross"], "probability"].tolist() == [1, 0]


def test_objectives_that_err_together_are_drawn_together(study: Study) -> None:
    """The second metric is the first one times a constant: who is better in one is better in both."""
    study.head(lock={"objectives": ["kid", "fd"]})
    rng = np.random.default_rng(0)
    for name in ("adaln_zero", "adaln", "cross", "in_context"):
        for seed in range(4):
            value = float(np.exp(0.1 * rng.normal()))
            study.trial({"backbone.conditioning": name}, seed, {METRIC: value, "fd_efficientnet_lite0": 100 * value})
    table = load(study.path).membership()
    assert table["probability"].sum() == pytest.approx(1.0, abs=0.1)


def test_attainment_surfaces_are_quantiles_of_the_front(study: Study) -> None:
    results = filled(study)
    surfaces = results.attainment(levels=(5, 50, 95))
    at = {
        level: [rows.loc[rows["gflops"] <= cost, METRIC].min() for cost in (1.0, 2.0, 4.0)]
        for level, rows in surfaces.groupby("level")
    }
    assert all(low <= middle <= high for low, middle, high in zip(at[5], at[50], at[95], strict=True))
    assert at[50] == pytest.approx([2.0, 1.0, 0.98], rel=0.03)
    with pytest.raises(InputError, match="two or three objectives"):
        results.attainment(["kid"])
    with pytest.raises(InputError, match="levels above 0"):
        results.attainment(levels=(0, 50))


@given(st.integers(2, 3), st.lists(st.integers(1, 3), min_size=1, max_size=7), st.integers(1, 6), st.integers(0, 999))
def test_attainment_surfaces_are_those_of_the_definition_also_where_values_repeat(
    objectives: int, sizes: list[int], values: int, seed: int
) -> None:
    sets = np.repeat(np.arange(len(sizes)), sizes)
    points = np.random.default_rng(seed).integers(values, size=(len(sets), objectives)).astype(float)
    found = surfaces(points, sets, [2.5, 50.0, 97.5])
    grid = np.array(list(itertools.product(*(np.unique(column) for column in points.T))))
    reached = (points <= grid[:, None]).all(axis=-1)
    attained = sum(reached[:, sets == one].any(axis=1).astype(int) for one in range(len(sizes)))
    for level in (2.5, 50.0, 97.5):
        area = grid[attained >= math.ceil(len(sizes) * level / 100)]
        corners = area[nondominated(area)]
        assert sorted(map(tuple, found[found[:, -1] == level, :-1])) == sorted(map(tuple, corners))


def test_a_hypervolume_has_an_interval_up_to_the_studys_own_point(study: Study) -> None:
    results = filled(study, lock={"reference": {"kid": 3.0, "gflops": 5.0}})
    found = results.hypervolume()
    front = results.front()
    points = front.loc[front["on_front"], [METRIC, "gflops"]].to_numpy()
    assert found.value == pytest.approx(hypervolume(points, np.array([3.0, 5.0])))
    assert found.low < found.expected < found.high and found.low < found.value < found.high and found.fixed
    assert front.attrs["reference_from"] == "study" and not load(study.path).hypervolume(["kid"]).fixed
    assert "hypervolume up to kid 3, gflops 5" in results.summary(plain=True)


def test_a_reference_point_inside_the_front_is_refused_with_one_that_is_not(study: Study) -> None:
    results = filled(study, lock={"reference": {"kid": 1.5, "gflops": 5.0}})
    with pytest.raises(
        InputError, match=r"lies inside the front: adaln_zero is not better .*efficientnet_lite0: 2\.\d"
    ):
        results.front(reference={"kid": 1.5, "gflops": 5.0})
    with pytest.raises(InputError, match="inside the front"):
        results.hypervolume()
    assert results.front().attrs["hypervolume"] is None and results.front()["on_front"].sum() == 3
    assert "lies inside the front" in results.summary(plain=True)
