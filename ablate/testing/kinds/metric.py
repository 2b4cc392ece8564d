"""Checks of a metric: best for the reference itself, worse the more noise there is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.kinds.metric import Measurement, Metric, TrainingMetric
from ablate.testing.case import Case, Check, NotApplicable

SAMPLES, WIDTH = 300, 16
TRAINING = 5  # seed of the vectors of what was trained on
NOISE = (0.0, 1.0, 4.0)  # deviations of noise that is added to vectors of deviation 1


def is_finite(case: Case) -> None:
    """Each value is finite, and so is its error, which is None or at least 0; also for the fewest samples."""
    for part in _variants(case):
        for count in (part.fewest(WIDTH), SAMPLES):
            for name, measurement in _values(part, _vectors(1, count), _vectors(2, count)).items():
                assert isinstance(measurement, Measurement), (
                    f"{part!r}: gives {type(measurement).__name__}, not Measurement"
                )
                assert math.isfinite(measurement.value), f"{part!r}: {name} is {measurement.value} for {count} samples"
                assert measurement.error is None or 0 <= measurement.error < math.inf, (
                    f"{part!r}: error {measurement.error} of {name}"
                )


def is_deterministic(case: Case) -> None:
    """The same vectors give the same values, in whatever order they come; they are not changed."""
    for part in _variants(case):
        x, y = _vectors(1), _vectors(2)
        values = _numbers(part, x, y)
        assert _numbers(part, x, y) == values, f"{part!r}: is not repeatable"
        for moved in (_numbers(part, x[::-1].copy(), y), _numbers(part, x, y[::-1].copy())):
            same = [math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(moved, values, strict=True)]
            assert all(same), f"{part!r}: the order counts"
        unchanged = np.array_equal(x, _vectors(1)) and np.array_equal(y, _vectors(2))
        assert unchanged, f"{part!r}: changes the vectors that it is given"


def takes_batches(case: Case) -> None:
    """What it collects of images that come batch by batch measures as the whole table does."""
    for part in _variants(case):
        x, y = _vectors(1), _vectors(2)
        collector = part.collects()
        for batch in np.array_split(x, 7):
            collector.add(batch)
        for a, b in zip(_numbers(part, collector.collected(), y), _numbers(part, x, y), strict=True):
            assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), f"{part!r}: {a} in batches, {b} at once"


def grows_worse_with_noise(case: Case) -> None:
    """The reference itself measures best; of the first value, the more noise is added to it, the worse."""
    reference = _vectors(1)
    noise = _vectors(2)
    for part in _variants(case):
        if not part.uses_reference:
            raise NotApplicable("it judges the generated images by themselves")
        if isinstance(part, TrainingMetric):
            raise NotApplicable("it asks whether images are copies, not whether they are good")
        sign = -1 if part.larger_is_better else 1
        every = [[sign * v for v in _numbers(part, reference + scale * noise, reference)] for scale in NOISE]
        where = f"{part!r}: {every} for noise {NOISE}"
        assert all(best <= worst for best, worst in zip(every[0], every[-1], strict=True)), where
        first = [values[0] for values in every]
        assert all(a <= b for a, b in pairwise(first)) and first[0] < first[-1], where


def looks_at_the_reference_as_it_says(case: Case) -> None:
    """Its value depends on the reference, unless it says that it does not use one."""
    for part in _variants(case):
        x = _vectors(1)
        same = _numbers(part, x, _vectors(2)) == _numbers(part, x, _vectors(3) * 2)
        assert same != part.uses_reference, f"{part!r}: uses_reference is {part.uses_reference}, which is not so"


def tells_copies_of_what_was_trained_on(case: Case) -> None:
    """What compares with the training images measures copies of them as worse than images that are none."""
    for part in _variants(case):
        if not isinstance(part, TrainingMetric):
            raise NotApplicable("it does not look at the training images")
        sign = -1 if part.larger_is_better else 1
        copied, fresh = (_numbers(part, x, _vectors(1)) for x in (_vectors(TRAINING), _vectors(2)))
        worse = [sign * a > sign * b for a, b in zip(copied, fresh, strict=True)]
        assert all(worse), f"{part!r}: {copied} for copies, {fresh} for other images"


def is_named_after_its_features(case: Case) -> None:
    """Each column tells the value and the features, unless they earn it a canonical name; no two are the same."""
    for part in _variants(case):
        columns = part.columns(1)
        assert tuple(columns) == (part.gives or (part.name,)), f"{part!r}: columns of {tuple(columns)}"
        assert len(set(columns.values())) == len(columns), f"{part!r}: two values in one column of {columns}"
        for name, column in columns.items():
            whole = column.startswith(f"{name}_") and column.endswith(f"_{part.features.name}")
            assert whole, f"{part!r}: the column of {name!r} is called {column!r}"


def _values(part: Metric, x: Any, y: NDArray[np.float64]) -> Mapping[str, Measurement]:
    measurements = part.compare(x, y, _vectors(TRAINING)) if isinstance(part, TrainingMetric) else part.compute(x, y)
    if not isinstance(measurements, Mapping):
        assert not part.gives, f"{part!r}: gives one value, and says {part.gives}"
        return {part.name: measurements}
    assert tuple(measurements) == part.gives, f"{part!r}: gives {tuple(measurements)}, and says {part.gives}"
    return measurements


def _numbers(part: Metric, x: Any, y: NDArray[np.float64]) -> list[float]:
    return [measurement.value for measurement in _values(part, x, y).values()]


def _variants(case: Case) -> list[Metric]:
    return [part for part in case.variants(numbers=True) if isinstance(part, Metric)]


def _vectors(seed: int, count: int = SAMPLES) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, WIDTH))


CHECKS: tuple[Check, ...] = (
    is_finite,
    is_deterministic,
    takes_batches,
    grows_worse_with_noise,
    looks_at_the_reference_as_it_says,
    tells_copies_of_what_was_trained_on,
    is_named_after_its_features,
)
