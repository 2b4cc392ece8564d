"""Mean and covariance of vectors that come in batches, and the Fréchet distance between two such sets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.api import InputError
from ablate_zoo.metric._vectors import Fixed, blocks, check_count, check_dimensions, fixed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Factor:
    """L (D, r) of a covariance L·Lᵀ. With an `order`, its rows come in that order and are a lower triangle."""

    table: NDArray[np.float64]
    order: NDArray[np.intp] | None = None

    def whole(self) -> NDArray[np.float64]:
        """L, its rows in the order of the features."""
        if self.order is None:
            return self.table
        rows = np.empty_like(self.table)
        rows[self.order] = self.table
        return rows


class Moments:
    """The moments of vectors (N, D), in float64; in memory of the order of D², however many come.

    Up to D vectors are kept as they are, because they say more than their covariance, which is then
    singular. Further ones are folded into mean and scatter, D at a time (Chan et al. 1979, eq. 2.1).
    """

    def __init__(self) -> None:
        self.count = 0
        self.broken = 0  # vectors that are not finite; nothing is computed then
        self._rows: list[NDArray[np.float64]] = []
        self._unfolded = 0  # vectors in `_rows`
        self._folded = 0
        self._mean: NDArray[np.float64] | None = None  # (D,) of what is folded
        self._scatter: NDArray[np.float64] | None = None  # (D, D), the sum of (x − mean)(x − mean)ᵀ

    @classmethod
    def of(cls, table: NDArray[np.floating[Any]]) -> Moments:
        """Those of a whole table (N, D)."""
        moments = cls()
        for block in blocks(table):
            moments.add(block)
        return moments

    def add(self, vectors: ArrayLike) -> None:
        """Some more vectors (B, D)."""
        rows = np.array(vectors, dtype=np.float64)
        self.count += len(rows)
        self.broken += len(rows) - int(np.isfinite(rows).all(axis=1).sum())
        if not self.broken:
            self._rows.append(rows)
            self._unfolded += len(rows)
            if self._unfolded > rows.shape[1]:
                self._fold()

    def collected(self) -> Moments:
        """Themselves."""
        return self

    @property
    def dimensions(self) -> int:
        """D."""
        return len(self._rows[0][0]) if self._mean is None else len(self._mean)

    def settle(self) -> tuple[NDArray[np.float64], float]:
        """The mean (D,) and the trace of the unbiased covariance; all vectors have been added."""
        if self._scatter is not None and self._rows:
            self._fold()
        if self._mean is not None and self._scatter is not None:
            return self._mean, float(np.trace(self._scatter)) / (self.count - 1)
        rows = np.concatenate(self._rows)
        mean = rows.mean(0)
        return mean, float(np.square(rows - mean).sum()) / (self.count - 1)

    def factor(self) -> Factor:
        """L with L·Lᵀ the covariance: the centred vectors themselves, or a Cholesky factor.

        The Cholesky decomposition is pivoted, so that features that are always 0 do no harm.
        """
        mean, _ = self.settle()
        if self._scatter is None:
            return Factor(np.ascontiguousarray(((np.concatenate(self._rows) - mean) / np.sqrt(self.count - 1)).T))
        from scipy.linalg.lapack import dpstrf

        lower, pivots, rank, _ = dpstrf(self._scatter / (self.count - 1), lower=1)
        order = pivots - 1
        if rank == len(mean):
            return Factor(np.asfortranarray(np.tril(lower)), order)
        table = np.empty((len(mean), rank))
        table[order] = np.tril(lower)[:, :rank]
        return Factor(table)

    def cross(self, factor: Factor) -> float:
        """tr((Σ·L·Lᵀ)^½): the sum of the singular values of X·L, with X·Xᵀ this covariance."""
        from scipy.linalg import eigvalsh, svdvals
        from scipy.linalg.blas import dtrmm

        mean, _ = self.settle()
        if self._scatter is None:
            product = (np.concatenate(self._rows) - mean) @ factor.whole()
            values = svdvals(product, overwrite_a=True, check_finite=False)
        else:
            if factor.order is None:
                squared = factor.table.T @ self._scatter @ factor.table
            else:  # a triangle, which half of the work is enough for
                ordered = np.asfortranarray(self._scatter[np.ix_(factor.order, factor.order)])
                product = dtrmm(1.0, factor.table, ordered, side=1, lower=1, overwrite_b=1)
                squared = dtrmm(1.0, factor.table, product, side=0, lower=1, trans_a=1, overwrite_b=1)
            squares = eigvalsh(squared, overwrite_a=True, check_finite=False, lower=True)
            values = np.sqrt(np.maximum(squares, 0))
        return float(values.sum()) / np.sqrt(self.count - 1)

    def _fold(self) -> None:
        rows = np.concatenate(self._rows)
        self._rows, self._unfolded = [], 0
        mean = rows.mean(0)
        rows -= mean
        scatter = rows.T @ rows
        if self._mean is None or self._scatter is None:
            self._mean, self._scatter = mean, scatter
        else:
            apart, both = mean - self._mean, self._folded + len(rows)
            self._mean = self._mean + apart * (len(rows) / both)
            self._scatter += scatter
            self._scatter += np.outer(apart, apart * (self._folded * len(rows) / both))
        self._folded += len(rows)


def frechet(metric: str, generated: Moments | ArrayLike, reference: ArrayLike, least: int) -> float:
    """Compute the Fréchet distance (Heusel et al. 2017, eq. 6), 0 or more. Raises InputError for what has none."""
    if not isinstance(generated, Moments):
        table = np.asarray(generated, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] == 0:
            raise InputError(f"{metric}: generated features must be a table (N, D), not of shape {table.shape}")
        generated = Moments.of(table)
    check_count(metric, "generated", generated.count, generated.broken, least)
    real = fixed(metric, reference, least)
    check_dimensions(metric, generated.dimensions, real)
    return between(generated, *of_reference(real))


def between(generated: Moments, mean: NDArray[np.float64], trace: float, factor: Factor) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁) + tr(Σ₂) − 2·tr((Σ₁Σ₂)^½), the second by its mean, the trace and a factor of Σ₂."""
    own_mean, own_trace = generated.settle()
    apart = float(np.square(own_mean - mean).sum())
    return max(0.0, apart + own_trace + trace - 2 * generated.cross(factor))


@lru_cache(maxsize=4)
def of_reference(reference: Fixed) -> tuple[NDArray[np.float64], float, Factor]:
    """Compute mean, trace and factor of the reference, once."""
    moments = Moments.of(reference.table)
    return (*moments.settle(), moments.factor())
