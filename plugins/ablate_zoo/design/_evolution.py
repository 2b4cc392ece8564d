"""Regularised evolution (Real et al. 2019) as a sampler of Optuna's, for one objective or several.

A population of the newest candidates; a few of them by chance, of which the best is the parent; and a child that
differs from it in one choice, which moves to a neighbour. Whoever is old leaves the population, however good it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from ablate.api import CUT_SHORT
from ablate_zoo.layers.contribution import by_contribution

STEP = 0.1  # of a range, or of its logarithm: the deviation of a step along it
TRIES = 20  # children, each with a parent of its own, until one is new


class EvolutionSampler(optuna.samplers.BaseSampler):
    """Proposes a neighbour of a good candidate among the newest `population`.

    tournament: how many are drawn, of which the best becomes the parent: by constraints (the least beyond them), then
    front after front, and within a front by what each adds to its hypervolume. There are children as soon as there are
    as many candidates as a tournament draws: in a study of a hundred, to fill the population by chance would take too
    much of it (docs/decisions/0060).
    """

    def __init__(self, population: int, tournament: int, seed: int) -> None:
        self._population = population
        self._tournament = tournament
        self._random = np.random.default_rng(seed)
        self._chance = optuna.samplers.RandomSampler(seed=seed)
        self._child: dict[str, Any] = {}
        self.parent: int | None = None  # number of the trial whose child was asked for last; None: it was chance

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the choices that the child has from its parent; none before there is a population."""
        trials = study.get_trials(deepcopy=False)
        ended = [t for t in trials if t.state == TrialState.COMPLETE and t.params]
        self._child, self.parent = {}, None
        if len(ended) < self._tournament:
            return {}
        newest = ended[-self._population :]
        places = {i: place for place, i in enumerate(order(newest, study.directions))}
        asked = [t.params for t in trials if t.number != trial.number and t.params and CUT_SHORT not in t.user_attrs]
        for _ in range(TRIES):
            drawn = self._random.choice(len(newest), size=self._tournament, replace=False)
            parent = newest[min(drawn.tolist(), key=places.__getitem__)]
            moving = [name for name, d in parent.distributions.items() if not d.single()]
            if not moving:
                return {}
            name = moving[self._random.integers(len(moving))]
            value = neighbour(parent.params[name], parent.distributions[name], self._random)
            self._child = {**parent.params, name: value}
            # With all choices of another candidate it is that candidate: which choices there are follows from them.
            if not any(params.items() <= self._child.items() for params in asked):
                break
        self.parent = parent.number
        return {name: d for name, d in parent.distributions.items() if not d.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the child's choices; those that do not exist under them are not asked for."""
        return {name: self._child[name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a choice by chance: of the first population, and what the parent does not have."""
        return self._chance.sample_independent(study, trial, param_name, param_distribution)


def neighbour(value: Any, distribution: BaseDistribution, random: np.random.Generator) -> Any:
    """Return another value of a choice: one step along numbers, any other one where they have no order."""
    if isinstance(distribution, CategoricalDistribution):
        return _of_choices(value, distribution.choices, random)
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"no neighbours are known in {distribution}")
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    whole = isinstance(distribution, IntDistribution)
    if step is not None and not distribution.log:
        at = round((float(value) - low) / step)
        moved = min(low + _beside(at, round((high - low) / step) + 1, random) * step, high)
        return int(moved) if whole else moved
    scale = (math.log, math.exp) if distribution.log else (float, float)
    begin, end = scale[0](low), scale[0](high)
    moved = float(value)
    while moved == value:
        place = scale[0](float(value)) + random.normal(0.0, STEP * (end - begin))
        while not begin <= place <= end:  # reflected at the ends, so that they draw no more than what lies between
            place = 2 * begin - place if place < begin else 2 * end - place
        moved = min(max(scale[1](place), low), high)
        moved = float(round(moved)) if whole else moved
    return int(moved) if whole else moved


def _of_choices(value: Any, choices: Sequence[Any], random: np.random.Generator) -> Any:
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    place = index_of(value, choices)
    if len(numbers) == len(choices) and len(set(numbers)) == len(numbers):
        ascending = sorted(range(len(choices)), key=choices.__getitem__)
        return choices[ascending[_beside(ascending.index(place), len(choices), random)]]
    others = [i for i in range(len(choices)) if i != place]
    return choices[others[random.integers(len(others))]]


def index_of(value: Any, choices: Sequence[Any]) -> int:
    """Return the place of a value; 1 and True are two choices."""
    is_flag = isinstance(value, bool)
    return next(i for i, choice in enumerate(choices) if choice == value and isinstance(choice, bool) == is_flag)


def _beside(place: int, count: int, random: np.random.Generator) -> int:
    """Return a place beside another one among `count`; at an end there is but one."""
    steps = [step for step in (-1, 1) if 0 <= place + step < count]
    return place + steps[random.integers(len(steps))]


def order(trials: Sequence[FrozenTrial], directions: Sequence[optuna.study.StudyDirection]) -> list[int]:
    """Return the places of trials, the best first: by what they lie beyond constraints, then by their values."""
    signs = np.array([1.0 if d == optuna.study.StudyDirection.MINIMIZE else -1.0 for d in directions])
    points = np.array([t.values for t in trials], dtype=float) * signs
    beyond = np.array([sum(max(excess, 0.0) for excess in t.constraints.values()) for t in trials])
    places: list[int] = []
    for excess in np.unique(beyond):
        rows = np.flatnonzero(beyond == excess)
        places += rows[by_contribution(points[rows])].tolist()
    return places
