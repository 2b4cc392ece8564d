"""Averages with power-function profiles, and how one of any length is put together from others (numpy alone).

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", section 3 and
appendix C. At time t an average of exponent γ weighs the weights of an earlier time τ in (0, t] by

    p_γ(τ; t) = (γ + 1)·τ^γ / t^(γ+1),

whose integral is 1. Time is counted in images. Its mean is t·(γ+1)/(γ+2), and its standard deviation,
divided by t, the relative length

    σ_rel² = (γ + 1) / ((γ + 2)²·(γ + 3)).

Weights stay as they are during a step, so the running average with d = (1 − batch/images)^(γ+1) is the
integral of p_γ over the steps exactly, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST = 12**-0.5  # σ_rel at γ = 0, where all of the training counts alike

Array = NDArray[np.float64]


class Profile(NamedTuple):
    """Power-function average of exponent γ, at a time."""

    exponent: float
    time: float


class Combination(NamedTuple):
    """An average as a linear combination of others."""

    coefficients: Array  # x, one for each of the others; their sum is 1
    error: float  # |p − Σ x_i·p_i| / |p|, L2 norms over time: the share of the profile that is missed
    spread: float  # |x|, L2: how much the rounding of what is summed grows


def exponent(length: float) -> float:
    """Compute γ of a relative length in (0, 12^-½]: the root γ ≥ 0 of γ³ + 7γ² + (16 − s)γ + 12 − s, s = length^-2."""
    if not 0 < length <= LONGEST * (1 + 1e-9):
        raise ValueError(f"a relative length is above 0 and at most 12^-1/2 = {LONGEST:.4f}, not {length}")
    s = length**-2.0
    roots = np.roots([1.0, 7.0, 16.0 - s, 12.0 - s])
    return max(0.0, float(roots[np.abs(roots.imag) < 1e-6].real.max()))


def relative_length(gamma: float) -> float:
    """Compute the relative length σ_rel of an exponent γ > −1."""
    return float(np.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))))


def share(gamma: float, images: int, batch: int) -> float:
    """Compute what stays of the average in a step of `batch` images that ends at `images`; 0 in the first step."""
    return float(max(0.0, 1 - batch / images) ** (gamma + 1))


def products(a: Sequence[Profile], b: Sequence[Profile]) -> Array:
    """Compute ∫ p_a(τ)·p_b(τ) dτ of every pair, (A, B). With m the earlier of the two times it is

    (γ_a+1)·(γ_b+1)/(γ_a+γ_b+1) · m^(γ_a+γ_b+1) / (t_a^(γ_a+1)·t_b^(γ_b+1)).
    """
    ga, ta = (np.array(column, dtype=np.float64)[:, None] for column in zip(*a, strict=True))
    gb, tb = (np.array(column, dtype=np.float64)[None] for column in zip(*b, strict=True))
    m = np.minimum(ta, tb)
    return np.asarray((ga + 1) * (gb + 1) / (ga + gb + 1) * (m / ta) ** ga * (m / tb) ** gb * m / (ta * tb))


def rebuild(target: Profile, snapshots: Sequence[Profile]) -> Combination:
    """Combine the snapshots' profiles p_i so that they are nearest to the target's p, by least squares over time.

    Minimises ∫ (p − Σ x_i·p_i)² dτ under Σ x_i = 1, so that weights which do not move are kept exactly.
    With G the inner products of the snapshots' profiles and b those with the target's, it solves

        | G  1 | |x|   |b|
        | 1' 0 | |m| = |1|,   and the error² is (<p, p> − 2·b·x + x·G·x) / <p, p>.
    """
    count = len(snapshots)
    gram = products(snapshots, snapshots) * target.time  # without a unit
    right = products(snapshots, [target])[:, 0] * target.time
    own = float(products([target], [target])[0, 0]) * target.time
    system = np.block([[gram, np.ones((count, 1))], [np.ones((1, count)), np.zeros((1, 1))]])
    x = np.linalg.lstsq(system, np.append(right, 1.0), rcond=1e-14)[0][:count]
    missed = own - 2 * right @ x + x @ gram @ x
    return Combination(x, float(np.sqrt(max(missed, 0.0) / own)), float(np.linalg.norm(x)))


def interval_shares(gamma: float, times: Sequence[float]) -> Array:
    """Integrate p_γ(τ; last) over each interval that ends at one of the times; they sum to 1."""
    reached = (np.asarray(times, dtype=np.float64) / times[-1]) ** (gamma + 1)
    return np.diff(reached, prepend=0.0)
