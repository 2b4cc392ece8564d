"""Who goes on at a rung of `pareto_asha`, against hypervolumes worked out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from moocore import hypervolume
from numpy.typing import NDArray

from ablate.api import Rung
from ablate_zoo.fidelity.pareto_asha import ParetoAsha


def rung(quality: NDArray[np.float64], cost: NDArray[np.float64]) -> Rung:
    count = len(quality)
    return Rung(0.3, np.arange(count), quality, cost, np.zeros(count, dtype=bool))


def order(quality: list[list[float]], cost: list[list[float]], **fields: object) -> list[list[int]]:
    at = rung(np.array(quality, dtype=float), np.array(cost, dtype=float))
    return [group.tolist() for group in ParetoAsha(**fields).groups(at)]


@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_by_contribution_front_after_front_and_what_each_adds(shift: float) -> None:
    """On log axes where all is positive, on linear ones otherwise."""
    points = np.random.default_rng(3).lognormal(size=(24, 2)) * [5.0, 1e-3] + [shift, 0.0]
    assert (points > 0).all() == (shift == 0)
    (found,) = order(points[:, :1].tolist(), points[:, 1:].tolist())
    axes = points if shift else np.log(points)
    assert sorted(found) == list(range(24))
    left, expected = set(range(24)), list[int]()
    reference = axes.max(axis=0) + 0.1 * np.ptp(axes, axis=0)
    while left:
        front = [i for i in left if not any((points[j] <= points[i]).all() and i != j for j in left)]
        whole = hypervolume(axes[front], ref=reference)
        gains = {
            i: whole - hypervolume(axes[[j for j in front if j != i] or front[:0]], ref=reference)
            if len(front) > 1
            else whole
            for i in front
        }
        expected += sorted(front, key=lambda i: (-gains[i], i))
        left -= set(front)
    assert found == expected


def test_the_cheapest_is_stopped_where_it_adds_little() -> None:
    """Candidate 0 is cheaper than 1 by a hair, and ten times worse."""
    quality, cost = [[10.0], [1.0], [0.9], [0.5], [9.0], [8.0]], [[0.99], [1.0], [5.0], [20.0], [21.0], [30.0]]
    (found,) = order(quality, cost)
    assert found.index(0) > max(found.index(1), found.index(3)) and found[-2:] in ([4, 5], [5, 4])


def test_in_bands_those_of_about_one_cost_are_compared() -> None:
    quality, cost = [[3.0], [1.0], [2.0], [0.1], [0.3], [0.2]], [[1.0], [1.1], [1.2], [9.0], [9.1], [9.2]]
    assert order(quality, cost, by="bands", bands=2) == [[1, 2, 0], [3, 5, 4]]
    assert order(quality, [[], [], [], [], [], []], by="bands") == [[3, 5, 4, 1, 2, 0]]


@pytest.mark.parametrize("by", ["contribution", "bands"])
def test_nobody_and_one_and_no_cost(by: str) -> None:
    assert [list(g) for g in ParetoAsha(by=by).groups(rung(np.empty((0, 1)), np.empty((0, 1))))] == [[]]
    assert order([[2.0]], [[1.0]], by=by) == [[0]]
    assert order([[2.0], [1.0]], [[], []], by=by) == [[1, 0]]
    assert order([[2.0], [2.0]], [[1.0], [1.0]], by=by) == [[0, 1]]
