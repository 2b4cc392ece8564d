"""Checks of a metric: best for the reference itself, worse the more noise there is."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ablate.kinds.metric import Measurement, Metric
from ablate.testing.case import Case, Check

SAMPLES, WIDTH = 300, 16
NOISE = (0.0, 1.0, 4.0)  # deviations of noise that is added to vectors of deviation 1


def is_finite(case: Case) -> None:
    """Its value is finite, and so is its error, which is None or at least 0; also for the fewest samples."""
    for part in _variants(case):
        for count in (part.least, SAMPLES):
            found = part.compute(_vectors(1, count), _vectors(2, count))
            assert isinstance(found, Measurement), f"{part!r}: gives {type(found).__name__}, not Measurement"
            assert math.isfinite(found.value), f"{part!r}: {found.value} for {count} samples"
            assert found.error is None or 0 <= found.error < math.inf, f"{part!r}: error {found.error}"


def is_deterministic(case: Case) -> None:
    """The same vectors give the same value, in whatever order they come; they are not changed."""
    for part in _variants(case):
        x, y = _vectors(1), _vectors(2)
        value = part.compute(x, y).value
        assert part.compute(x, y).value == value, f"{part!r}: is not repeatable"
        for moved in (part.compute(x[::-1].copy(), y), part.compute(x, y[::-1].copy())):
            assert math.isclose(moved.value, value, rel_tol=1e-6, abs_tol=1e-9), f"{part!r}: the order counts"
        unchanged = np.array_equal(x, _vectors(1)) and np.array_equal(y, _vectors(2))
        assert unchanged, f"{part!r}: changes the vectors that it is given"


def grows_worse_with_noise(case: Case) -> None:
    """The reference itself measures best, and the more noise is added to it, the worse."""
    reference = _vectors(1)
    noise = _vectors(2)
    for part in _variants(case):
        sign = -1 if part.larger_is_better else 1
        values = [sign * part.compute(reference + scale * noise, reference).value for scale in NOISE]
        assert all(a <= b for a, b in pairwise(values)) and values[0] < values[-1], (
            f"{part!r}: {values} for noise {NOISE}"
        )


def is_named_after_its_features(case: Case) -> None:
    """Its column tells the features, unless they earn it a canonical name."""
    for part in _variants(case):
        label = part.label(1)
        assert label == f"{part.name}_{part.features.name}", f"{part!r}: its column is called {label!r}"


def _variants(case: Case) -> list[Metric]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Metric)]


def _vectors(seed: int, count: int = SAMPLES) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, WIDTH))


CHECKS: tuple[Check, ...] = (is_finite, is_deterministic, grows_worse_with_noise, is_named_after_its_features)
