"""What a study can find: the smallest difference at its seeds, and the seeds that a difference takes."""

from __future__ import annotations

import math

import numpy as np

from ablate.kinds.analysis import Analysis

POWER = 0.8
MOST_SEEDS = 200  # beyond these nobody is told a number of seeds
MOST_SIMULATED = 24  # candidates of a simulated study; more add next to nothing to what is known of the deviation
DRAWS = 2000
STEPS = 40  # of the bisection


def power(test: Analysis, candidates: int, seeds: int, effect: float, level: float, draws: int = DRAWS) -> float:
    """Return the chance that one candidate of this effect is told from the baseline, the others being equal to it.

    effect: in deviations of one value from its candidate and its seed. level: of all comparisons together; the first
    step of Holm's correction is what the candidate has to pass. By simulation of normal errors, always with the same
    draws.
    """
    if candidates < 2 or seeds < 2:
        return 0.0
    rows = min(candidates, MOST_SIMULATED)
    values = np.random.default_rng([rows, seeds]).standard_normal((draws, rows, seeds))
    pairs = np.array([[1, 0]])
    # A difference that is there changes no residual: to find it is to reject that there is none of that size.
    p = test.compare(values, pairs, -effect).p[:, 0]
    return float(np.mean(p * (candidates - 1) < level))


def detectable(
    test: Analysis, candidates: int, seeds: int, level: float, draws: int = DRAWS, chance: float = POWER
) -> float:
    """Return the effect that is found with this chance, in deviations; infinite where no effect is."""
    low, high = 0.0, 1.0
    while power(test, candidates, seeds, high, level, draws) < chance:
        low, high = high, 2 * high
        if high > 1e6:
            return math.inf
    for _ in range(STEPS):
        middle = (low + high) / 2
        found = power(test, candidates, seeds, middle, level, draws) >= chance
        low, high = (low, middle) if found else (middle, high)
        if high - low < 1e-3 * high:
            break
    return high


def seeds_needed(
    test: Analysis, candidates: int, effect: float, level: float, draws: int = DRAWS, chance: float = POWER
) -> int | None:
    """Return the fewest seeds with which an effect, in deviations, is found with this chance; None beyond 200."""
    low, high = 1, 2
    while power(test, candidates, high, effect, level, draws) < chance:
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        found = power(test, candidates, middle, effect, level, draws) >= chance
        low, high = (low, middle) if found else (middle, high)
    return high
