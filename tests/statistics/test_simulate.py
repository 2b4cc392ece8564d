"""Simulated studies: the verdict's errors are what they are said to be, and what it finds is what is planned."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import ablate
from ablate.discovery.catalog import catalog
from ablate.errors import InputError
from ablate.kinds.analysis import Analysis
from ablate.statistics.power import detectable, power, seeds_needed

STUDIES = 1000
MOST = float(stats.binom.ppf(0.999, STUDIES, 0.05)) / STUDIES  # so often, were it one in twenty
TWO_WAY = catalog().create(Analysis, "two_way")


@pytest.mark.parametrize("errors", ["normal", "skewed", "heavy"])
@pytest.mark.parametrize("candidates", [4, 12])
@pytest.mark.parametrize("fourfold", [False, True], ids=["equal", "fourfold"])
def test_equals_are_told_apart_in_no_more_than_one_study_in_twenty(
    candidates: int, errors: str, fourfold: bool
) -> None:
    spread = np.roll(np.geomspace(1, 4, candidates), candidates // 2).tolist() if fourfold else 1.0
    table = ablate.simulate(candidates, [2, 3, 7], spread=spread, errors=errors, studies=STUDIES)
    assert (table["false_difference"] <= MOST).all(), table
    assert table["coverage"].between(0.93 - 0.01, 0.98).all(), table
    assert (table["coverage_all"] >= 0.95 - 0.02).all() and (table["coverage_best"] >= 0.95).all(), table


def test_one_deviation_for_all_errs_where_it_is_not_true_and_the_guard_tells() -> None:
    """The test can fail: the plain model errs in far more studies, of which the guarded one keeps most right."""
    spread = [1.0] * 11 + [5.0]
    plain = {"type": "two_way", "variance": "pooled"}
    errs = ablate.simulate(12, 5, spread=spread, test=plain, studies=STUDIES)["false_difference"][0]
    guarded = ablate.simulate(12, 5, spread=spread, studies=STUDIES)["false_difference"][0]
    assert errs > 0.12 and guarded <= MOST


@pytest.mark.parametrize("most", [None, 10])
def test_adding_seeds_after_looks_keeps_the_error_and_a_naive_look_does_not(most: int | None) -> None:
    table = ablate.simulate(4, looks=[2, 3, 4, 5, 7, 10], most_seeds=most, studies=STUDIES)
    assert table["false_difference"][0] <= MOST
    plain = {"type": "two_way", "variance": "pooled"}
    each = [ablate.simulate(4, n, test=plain, studies=STUDIES, random_seed=1) for n in (3, 10)]
    assert max(one["false_difference"][0] for one in each) <= MOST, "one look by itself does not err"


def test_what_differs_is_found_as_often_as_the_plan_says() -> None:
    for seeds in (3, 5, 7):
        effect = detectable(TWO_WAY, 4, seeds, 0.05)
        found = ablate.simulate(4, seeds, effects=effect, studies=STUDIES)["power"][0]
        assert found == pytest.approx(0.8, abs=0.05)
        assert seeds_needed(TWO_WAY, 4, effect * 1.01, 0.05) == seeds
    assert power(TWO_WAY, 4, 1, 100, 0.05) == 0 and seeds_needed(TWO_WAY, 4, 1e-3, 0.05, draws=100) is None


def test_two_candidates_are_told_apart_as_by_the_paired_t_test() -> None:
    """Power against the noncentral t, an independent way."""
    effect, n = 2.0, 6
    beyond = stats.t.ppf(0.975, n - 1)
    shift = effect / np.sqrt(2 / n)
    exact = stats.nct.sf(beyond, n - 1, shift) + stats.nct.cdf(-beyond, n - 1, shift)
    assert power(TWO_WAY, 2, n, effect, 0.05, draws=20_000) == pytest.approx(exact, abs=0.012)


def test_equivalence_is_claimed_where_it_holds_and_seldom_at_the_margin() -> None:
    inside = ablate.simulate(4, 10, delta=2.0, studies=STUDIES)
    at_margin = ablate.simulate(4, 10, effects=2.0, delta=2.0, studies=STUDIES)
    assert inside["found_equivalence"][0] > 0.9 and at_margin["false_equivalence"][0] <= MOST


def test_the_fate_of_fronts_is_counted_right() -> None:
    """Without errors the front of means is the true one; with large errors it holds what is dominated."""
    effects, costs = [0.0, -1.0, 0.5, -2.0], [1.0, 2.0, 3.0, 4.0]
    sure = ablate.simulate(4, 2, effects=effects, spread=1e-6, costs=costs, studies=50)
    assert sure[["front_wrong", "front_dominated", "front_missing", "best_wrong"]].to_numpy().tolist() == [[0] * 4]
    unsure = ablate.simulate(4, 2, effects=effects, spread=3.0, costs=costs, studies=500)
    assert (unsure[["front_wrong", "front_missing", "best_wrong", "best_told_too_good"]].to_numpy() > 0.1).all(), unsure


def test_residuals_of_ones_own_are_drawn_from() -> None:
    table = ablate.simulate(4, 3, errors=[-1.0, -1.0, -1.0, 3.0], studies=200)
    assert table["false_difference"][0] < 0.12
    assert ablate.simulate(4, 3, all_pairs=True, studies=STUDIES)["false_difference"][0] <= MOST


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"test": "welsh"}, "did you mean 'welch'"),
        ({"errors": "norm"}, "did you mean 'normal'"),
        ({"candidates": 1}, "two candidates or more"),
        ({"effects": [1, 2]}, "expected one number or 4"),
        ({"looks": [3, 3]}, "ascending"),
        ({"seeds": []}, "number of seeds"),
        ({"errors": [1, 1]}, "two numbers that differ"),
        ({"delta": -1}, "margin"),
        ({"studies": 0}, "number of studies"),
    ],
)
def test_what_is_no_study_is_told(given: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        ablate.simulate(**given)
