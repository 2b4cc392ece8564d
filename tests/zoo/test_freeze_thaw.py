"""fidelity `freeze_thaw`: its extrapolation, its expected improvement, and whom it lets go on."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from pydantic import ValidationError

from ablate.api import Rung
from ablate_zoo.fidelity._extrapolation import extrapolated, improvements
from ablate_zoo.fidelity.freeze_thaw import FreezeThaw

SHARES = np.array([0.1, 0.2, 0.4, 1.0])


def power_laws(count: int = 40, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Curves that are power laws, as logarithms: (n, 4) points, and what they come to, (n,)."""
    draws = np.random.default_rng(0)
    ends, slopes = draws.normal(2.0, 0.5, count), draws.normal(-0.6, 0.2, count)
    points = ends[:, None] + slopes[:, None] * np.log(SHARES)
    return points + noise * draws.normal(size=points.shape), ends


def test_power_laws_are_extrapolated_to_their_ends() -> None:
    points, ends = power_laws()
    points[20:, 2:] = np.nan  # half of them stand at the second rung
    points[:, 3] = np.nan
    found = extrapolated(SHARES, points)
    error, so_far = np.abs(found.mean - ends), np.abs(points[np.arange(40), np.where(np.arange(40) < 20, 2, 1)] - ends)
    assert error.mean() < so_far.mean() / 4 and np.corrcoef(found.mean, ends)[0, 1] > 0.9
    assert (error < 4 * found.deviation).all()


def test_a_short_curve_borrows_its_slope_and_is_less_certain() -> None:
    points, ends = power_laws(noise=0.02)
    points[30:, 1:] = np.nan
    found = extrapolated(SHARES, points)
    last = points[30:, 0]
    assert np.abs(found.mean[30:] - ends[30:]).mean() < np.abs(last - ends[30:]).mean() / 2
    assert found.deviation[30:].min() > found.deviation[:30].max()
    assert np.mean(np.abs(found.mean - ends) < 2 * found.deviation) > 0.85
    assert found.new_mean == pytest.approx(ends.mean(), abs=0.1)
    assert found.new_deviation > found.deviation.max()


def test_a_point_that_says_nothing_counts_for_nothing() -> None:
    """One share is noise: the candidates that stand there alone are all alike, whatever they have there."""
    points, _ = power_laws(noise=0.02)
    points[:, 0] = np.random.default_rng(1).normal(3.4, 1.5, len(points))
    points[20:, 1:] = np.nan
    found = extrapolated(SHARES, points)
    assert np.ptp(found.mean[20:]) < 0.4 * np.ptp(points[20:, 0])


def test_the_expected_improvement_is_that_of_draws() -> None:
    draws = np.random.default_rng(0)
    front, reference = np.array([[0.0, 3.0], [1.0, 1.5], [2.5, 1.0], [2.0, 2.0]]), (4.0, 4.0)
    cost, mean, deviation = np.array([-0.5, 1.0, 3.0, 4.0]), np.array([3.5, 1.4, 2.0, 0.0]), np.array([0.5, 0.3, 1, 1])
    before = moocore.hypervolume(front, ref=reference)
    for one, found in enumerate(improvements(cost, mean, deviation, front, reference)):
        values = draws.normal(mean[one], deviation[one], 20_000)
        gains = [moocore.hypervolume(np.vstack([front, [cost[one], v]]), ref=reference) - before for v in values[:4000]]
        assert found == pytest.approx(np.mean(gains), abs=5 * np.std(gains) / 4000**0.5 + 1e-9)


def rungs(ends: np.ndarray | None, last_promoted: list[bool]) -> tuple[Rung, ...]:
    """Four candidates of one cost at two rungs: the lower their number, the better."""
    quality = np.array([[1.0], [2.0], [3.0], [4.0]])
    numbers, cost = np.arange(4), np.ones((4, 1))
    first = Rung(0.25, numbers, 2 * quality, cost, np.array([True, True, True, False]), ends)
    second = Rung(
        0.5, numbers[:3], 1.4 * quality[:3], cost[:3], np.array(last_promoted), None if ends is None else ends[:3]
    )
    return first, second


def test_the_most_promising_goes_on_and_who_diverged_is_no_rival() -> None:
    part = FreezeThaw(at=(0.25, 0.5))
    assert part.promote(rungs(None, [False, False, False]), closing=True) == 0
    ended = np.array([[1.0], [np.nan], [np.nan], [np.nan]])
    strict = FreezeThaw(at=(0.25, 0.5), gain=0.5)
    assert strict.promote(rungs(ended, [True, False, False]), closing=True) is None  # the others add less than half
    diverged = np.array([[np.inf], [np.nan], [np.nan], [np.nan]])
    assert strict.promote(rungs(diverged, [True, False, False]), closing=True) == 1  # there is no front


@pytest.mark.parametrize("at", [(), (0.5, 0.25), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_shares_ascend_within_the_budget(at: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        FreezeThaw(at=at)


def test_few_candidates_are_not_compared_before_the_end() -> None:
    numbers = np.arange(2)
    rung = Rung(0.5, numbers, np.ones((2, 1)), np.ones((2, 1)), np.zeros(2, dtype=bool))
    part = FreezeThaw(at=(0.5,))
    assert part.promote((rung,), closing=False) is None
    assert part.promote((rung,), closing=True) == 0
