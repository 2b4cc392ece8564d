"""What a test in the two-way model says of its assumptions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ablate_zoo.analysis._spread import Common, Floats

POWER = 0.8  # with which a difference of spreads would be seen
NAMED = 3  # candidates that a sentence names


def pairing_words(values: Floats) -> tuple[str, ...]:
    """Say how much of the variance of one study's (k, n) values the pairing by seed takes away."""
    y = values[np.isfinite(values).all(axis=1)]
    k, n = y.shape
    if k < 2 or n < 2:
        return ()
    seeds = y.mean(axis=0) - y.mean()
    residuals = y - y.mean(axis=1, keepdims=True) - seeds
    error = float((residuals**2).sum()) / ((k - 1) * (n - 1))
    between = max(float((seeds**2).sum()) / (n - 1) - error / k, 0.0)
    if not error + between:
        return ()
    share = between / (error + between)
    if share < 0.05:
        return ("seeds do not move candidates alike here, so pairing by seed gains nothing",)
    percent = f"{100 * share:.1f}" if share > 0.99 else f"{100 * share:.0f}"
    return (f"pairing by seed takes away {percent} % of the variance of a difference",)


def missing_words(values: Floats) -> tuple[str, ...]:
    """Say how one study's (k, n) values are compared where some are missing."""
    missing = int((~np.isfinite(values)).sum())
    if not missing:
        return ()
    ran = f"{missing} of {values.size} runs are missing" if missing > 1 else f"one of {values.size} runs is missing"
    return (f"{ran}, by chance as it is taken: differences are fitted to the others by least squares",)


def spread_words(found: Common, names: Sequence[str], level: float) -> tuple[str, ...]:
    """Say whether the candidates' spreads were found to differ, and what would have been seen."""
    k = found.p.shape[1]
    own, rest = found.freedom
    if k < 3 or own <= 0 or rest <= 0:
        return ()
    corrected = min(1.0, k * float(found.p[0].min()))
    p = f"F-test, p {'< 0.001' if corrected < 0.001 else f'= {corrected:.2g}'} corrected"
    if found.noisy.any():
        worst = [names[i] for i in np.argsort(found.p[0]) if found.noisy[0, i]]
        more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
        return (f"{', '.join(worst[:NAMED])}{more} {'are' if len(worst) > 1 else 'is'} noisier than the others ({p})",)
    times = float(f"{_visible(own, rest, level / k):.2g}")
    seen = f"one {times:g} times as noisy as the others would show with a chance of {POWER:g}"
    return (f"no candidate is shown to be noisier than the others ({p}); {seen}",)


def _visible(own: float, rest: float, level: float) -> float:
    """Return how many times the others' deviation one has to have to be seen with a chance of 0.8."""
    from scipy.special import fdtri

    return float(np.sqrt(fdtri(own, rest, 1 - level) / fdtri(own, rest, 1 - POWER)))
