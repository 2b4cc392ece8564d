"""Squared distances between vectors, in blocks of bounded memory, and the balls that reach a k-th neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ablate_zoo.metric._vectors import Fixed, checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ELEMENTS = 2**23  # of a block of distances, 64 MiB
ROUNDING = 1e-9  # of the mean squared length: distances that differ by less are equal


@dataclass(frozen=True)
class Balls:
    """Around each of two sets' vectors the ball that reaches its k-th nearest neighbour in its own set."""

    generated: NDArray[np.float64]  # (N, D), centred on the reference's mean
    reference: NDArray[np.float64]  # (M, D)
    reference_radii: NDArray[np.float64]  # (M,), squared
    rounding: float  # a difference of squared distances that means nothing

    @classmethod
    def around(cls, metric: str, generated: ArrayLike, reference: ArrayLike, neighbours: int) -> Balls:
        """The balls of the reference. Raises InputError for vectors that have no so many neighbours."""
        x, fixed = checked(metric, generated, reference, neighbours + 1)
        mean, y, radii_y = _of_reference(fixed, neighbours)
        return cls(x - mean, y, radii_y, ROUNDING * float(np.square(y).sum(1).mean()))

    def distances(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Squared distances (B, M) of some generated vectors at a time to all of the reference."""
        return squared_distances(self.generated, self.reference)


def radii(x: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """Compute the squared distance of each vector (N, D) to its k-th nearest other, (N,)."""
    squared_radii = np.empty(len(x))
    for rows, squares in squared_distances(x, x):
        own = np.arange(rows.start, rows.stop)
        squares[own - rows.start, own] = np.inf
        squares.partition(neighbours - 1, axis=1)
        squared_radii[rows] = squares[:, neighbours - 1]
    return squared_radii


def nearest(
    x: NDArray[np.float64], table: NDArray[np.float64], itself: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Find for each vector (N, D) the nearest of a table (K, D): its squared distance, and its row, (N,) each.

    itself: the row of the table that each vector is, which is not counted.
    """
    squared, rows_of = np.empty(len(x)), np.empty(len(x), dtype=np.intp)
    for rows, squares in squared_distances(x, table):
        if itself is not None:
            squares[np.arange(rows.stop - rows.start), itself[rows]] = np.inf
        rows_of[rows] = squares.argmin(axis=1)
        squared[rows] = squares.min(axis=1)
    return squared, rows_of


def squared_distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Compute |x_i − y_j|² as |x_i|² + |y_j|² − 2·x_i·y_j, (B, M) for some rows of x at a time; 0 or more."""
    lengths_x, lengths_y = np.square(x).sum(1), np.square(y).sum(1)
    size = max(1, _ELEMENTS // len(y))
    for first in range(0, len(x), size):
        rows = slice(first, min(first + size, len(x)))
        squares = x[rows] @ y.T
        squares *= -2
        squares += lengths_y
        squares += lengths_x[rows, None]
        yield rows, np.maximum(squares, 0, out=squares)


@lru_cache(maxsize=4)
def _of_reference(
    reference: Fixed, neighbours: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    values = reference.values
    mean = values.mean(0)
    y = values - mean  # near 0, where a difference of squares loses the fewest digits
    return mean, y, radii(y, neighbours)
