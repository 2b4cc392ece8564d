"""Errors of simulated studies: standardised draws of a shape, or of residuals that were seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.errors import Argument, InputError, did_you_mean

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
LOG_DEVIATION = 0.5  # of the lognormal: a skewness of 1.75
FREEDOM = 3.0  # of the heavy tails: Student's t, of which no fourth moment exists


def _skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    square = LOG_DEVIATION**2
    drawn = np.exp(LOG_DEVIATION * generator.standard_normal(shape))
    return np.asarray((drawn - np.exp(square / 2)) / np.sqrt(np.expm1(square) * np.exp(square)))


SHAPES: Mapping[str, Draw] = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "skewed": _skewed,
    "heavy": lambda generator, shape: generator.standard_t(FREEDOM, shape) * np.sqrt((FREEDOM - 2) / FREEDOM),
}


def shape_of(errors: str | Sequence[float] | ArrayLike) -> Draw:
    """Return how errors of mean 0 and deviation 1 are drawn: of a named shape, or from numbers with replacement."""
    if isinstance(errors, str):
        if errors not in SHAPES:
            hint = did_you_mean(errors, SHAPES)
            raise InputError(
                f"there are errors of the shapes {', '.join(SHAPES)}, not {errors!r}{hint}", Argument("errors")
            )
        return SHAPES[errors]
    seen = np.asarray(errors, dtype=np.float64).ravel()
    if len(seen) < 2 or not np.isfinite(seen).all() or not seen.std():
        raise InputError("residuals to draw from are at least two numbers that differ", Argument("errors"))
    standard = (seen - seen.mean()) / seen.std()
    return lambda generator, shape: generator.choice(standard, size=shape)
