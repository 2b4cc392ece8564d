"""metric `kid`: kernel distance (KID) between two sets of features, unbiased at any number of samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ablate.api import Measurement, Metric
from ablate_zoo.metric._vectors import Fixed, checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_BLOCK = 4096  # rows of a kernel matrix that are in memory at once


class KernelDistance(Metric):
    """Kernel distance: squared maximum mean discrepancy under k(x, y) = (x·y/D + 1)³, Bińkowski et al. 2018, sec. 4.

    The unbiased estimate over all pairs, not a mean over subsets: it may be negative, and is about
    zero for two samples of one distribution. Its standard error is over redraws of both samples: a
    jackknife (each image left out in turn, exactly, from the row sums of the kernels), less the
    variance of pairs, which a jackknife counts twice (Efron & Stein 1981) and which is all there is
    where the two distributions are the same.
    """

    name = "kid"
    least: ClassVar[int] = 3

    def compute(self, generated: ArrayLike, reference: ArrayLike) -> Measurement:
        """(N, D) and (M, D) features -> the estimate and its standard error."""
        x, y = checked(self.name, generated, reference, self.least)
        own_x, own_y, between = _own(x), _reference(y), _sums(x, y.values)
        n, m = len(x), len(own_y.rows)
        within_x, within_y, across = own_x.rows.sum(), own_y.rows.sum(), between.rows.sum()
        value = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)
        # The same with one image left out; terms without that image are constants, and drop out of the variance.
        without_x = (within_x - 2 * own_x.rows) / ((n - 1) * (n - 2)) - 2 * (across - between.rows) / ((n - 1) * m)
        without_y = (within_y - 2 * own_y.rows) / ((m - 1) * (m - 2)) - 2 * (across - between.columns) / (n * (m - 1))
        jackknife = (n - 1) * without_x.var() + (m - 1) * without_y.var()
        pairs = (
            2 * _interaction_within(own_x) / (n * (n - 1))
            + 2 * _interaction_within(own_y) / (m * (m - 1))
            + 4 * _interaction_across(between) / (n * m)
        )
        # The difference is right in the mean, but scatters; half of `pairs` keeps it away from 0 and below.
        return Measurement(float(value), float(np.sqrt(max(jackknife - pairs, pairs / 2))))


@dataclass(frozen=True)
class _KernelSums:
    """What is needed of a kernel matrix (N, M): its sums over rows and columns, and that of its squares."""

    rows: NDArray[np.float64]  # (N,)
    columns: NDArray[np.float64]  # (M,)
    squares: float


def _interaction_within(of: _KernelSums) -> float:
    """Estimate the variance of k(x, x') that neither x nor x' explains alone, from all pairs of one sample."""
    n = len(of.rows)
    total = of.rows.sum()
    means = of.rows / (n - 1)
    grand = total / (n * (n - 1))
    # Σ_{i≠j} (k_ij − m_i − m_j + g)², with m_i stretched so that it fits an additive kernel exactly.
    main = (n - 1) / (n - 2) * (means - grand)
    residual = of.squares - n * (n - 1) * grand**2 - 2 * (n - 2) * np.square(main).sum()
    return max(0.0, float(residual) / (n * (n - 3))) if n > 3 else 0.0


def _interaction_across(of: _KernelSums) -> float:
    """Estimate the variance of k(x, y) that neither x nor y explains alone, from all pairs of two samples."""
    n, m = len(of.rows), len(of.columns)
    grand = of.rows.sum() / (n * m)
    main = m * np.square(of.rows / m - grand).sum() + n * np.square(of.columns / n - grand).sum()
    return max(0.0, float(of.squares - n * m * grand**2 - main) / ((n - 1) * (m - 1)))


@lru_cache(maxsize=4)
def _reference(y: Fixed) -> _KernelSums:
    return _own(y.values)


def _own(x: NDArray[np.float64]) -> _KernelSums:
    """Sum the kernel over the pairs of one sample, without those of an image with itself."""
    sums, selves = _sums(x, x), _cubic(np.square(x).sum(1), x.shape[1])
    rows = sums.rows - selves
    return _KernelSums(rows, rows, sums.squares - float(np.square(selves).sum()))


def _sums(x: NDArray[np.float64], y: NDArray[np.float64]) -> _KernelSums:
    """Σ_j k(x_i, y_j) for each i, Σ_i k(x_i, y_j) for each j, and ΣΣ k², in blocks of rows."""
    rows, columns, squares = np.empty(len(x)), np.zeros(len(y)), 0.0
    for start in range(0, len(x), _BLOCK):
        block = x if len(x) <= _BLOCK else x[start : start + _BLOCK]  # x itself: BLAS then knows a symmetric product
        kernel = _cubic(block @ y.T, x.shape[1])
        rows[start : start + _BLOCK] = kernel.sum(1)
        columns += kernel.sum(0)
        squares += float(np.vdot(kernel, kernel))
    return _KernelSums(rows, columns, squares)


def _cubic(products: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """Compute (x·y/D + 1)³ in place of the products."""
    products /= dimensions
    products += 1
    return np.multiply(products, products * products, out=products)
