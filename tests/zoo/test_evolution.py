"""Regularised evolution as a search: what its children are, and that it finds more than chance."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

from ablate_zoo.design._evolution import EvolutionSampler, neighbour, order
from ablate_zoo.design.search import Search

SPACE = {
    "width": CategoricalDistribution([16, 64, 32, 8]),  # not in their order
    "fusion": CategoricalDistribution(["concat", "add", "none"]),
    "flag": CategoricalDistribution([True, False, 1]),
    "depth": IntDistribution(2, 10, step=2),
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
}


def grown(design, seed, trials=60, space=SPACE, value=None):
    """A study of the sampler, made anew for each candidate as the engine does, with its trials."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    for number in range(trials):
        study.sampler = design.sampler(seed * 1000 + number)
        trial = study.ask()
        params = {name: trial._suggest(name, distribution) for name, distribution in space.items()}
        study.tell(trial, value(params) if value else [params["width"], params["depth"] + (params["fusion"] != "add")])
    return study.trials


def test_a_child_differs_from_one_of_the_population_in_one_choice():
    trials = grown(Search(algorithm="evolution", population=6, tournament=3), 1)
    changed = set()
    for child in trials[3:]:
        ended = trials[max(0, child.number - 6) : child.number]
        parents = [p for p in ended if sum(p.params[n] != child.params[n] for n in SPACE) <= 1]
        assert parents, child.params
        moved = [n for n in SPACE if parents[0].params[n] != child.params[n]]
        changed |= set(moved)
    assert {"width", "fusion", "depth", "rate"} <= changed
    assert len({tuple(t.params.items()) for t in trials}) > 50  # hardly ever what was asked for before


@pytest.mark.parametrize(
    ("name", "value", "others"),
    [
        ("width", 16, {8, 32}),  # the neighbours of a number, whatever the order of the list is
        ("width", 8, {16}),
        ("width", 64, {32}),
        ("fusion", "add", {"concat", "none"}),
        ("depth", 4, {2, 6}),
        ("depth", 10, {8}),
    ],
)
def test_a_choice_moves_to_its_neighbours(name, value, others):
    random = np.random.default_rng(0)
    assert {neighbour(value, SPACE[name], random) for _ in range(50)} == others


def test_what_is_true_is_not_one():
    moved = [neighbour(1, SPACE["flag"], np.random.default_rng(i)) for i in range(20)]
    assert {(type(value), value) for value in moved} == {(bool, True), (bool, False)}


@pytest.mark.parametrize("distribution", [FloatDistribution(-1, 1), IntDistribution(1, 1000, log=True), SPACE["rate"]])
def test_a_range_is_left_by_no_step(distribution):
    random, value = np.random.default_rng(0), distribution.high
    for _ in range(200):
        before, value = value, neighbour(value, distribution, random)
        assert distribution.low <= value <= distribution.high and value != before
        assert isinstance(value, int) == isinstance(distribution, IntDistribution)


def test_who_keeps_the_constraints_comes_first_and_then_the_front():
    values = [[1.0, 9.0], [9.0, 1.0], [5.0, 5.0], [9.0, 9.0], [0.1, 0.1]]
    excess = [0.0, 0.0, 0.0, 0.0, 2.0]
    study = optuna.create_study(directions=["minimize", "minimize"])
    for two, beyond in zip(values, excess, strict=True):
        trial = study.ask()
        trial.set_constraint("gflops", beyond)
        study.tell(trial, two)
    trials = study.trials
    places = order(trials, [optuna.study.StudyDirection.MINIMIZE] * 2)
    assert places[3:] == [3, 4] and set(places[:3]) == {0, 1, 2}
    larger = order(trials[:4], [optuna.study.StudyDirection.MAXIMIZE] * 2)
    assert larger[0] == 3


def test_it_finds_a_corner_of_a_large_space_sooner_than_chance():
    space = {f"x{i}": CategoricalDistribution(["a", "b", "c", "d"]) for i in range(8)}

    def wrong(params):
        return [float(sum(choice != "a" for choice in params.values()))] * 2

    def best(design):
        return [min(t.values[0] for t in grown(design, seed, 100, space, wrong)) for seed in range(3)]

    evolved, chance = (best(Search(algorithm=name)) for name in ("evolution", "random"))
    assert sum(evolved) < sum(chance)


def test_a_tournament_is_no_larger_than_the_population():
    with pytest.raises(ValidationError, match="a tournament of 5 cannot be drawn from a population of 4"):
        Search(algorithm="evolution", population=4)
    assert Search(algorithm="nsga2", population=4).tournament == 5  # which does not read it
    assert isinstance(Search(algorithm="evolution").sampler(0), EvolutionSampler)
