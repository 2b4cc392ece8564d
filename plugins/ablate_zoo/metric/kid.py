"""kid: kernel distance between two sets of features, unbiased at any number of samples."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ablate.api import Measurement, Metric
from ablate_zoo.metric._vectors import Fixed, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 4096  # rows of a kernel matrix that are in memory at once


class KernelDistance(Metric):
    """The squared maximum mean discrepancy under k(x, y) = (x·y/D + 1)³, Bińkowski et al. 2018, sec. 4.

    The unbiased estimate over all pairs, not a mean over subsets: it may be negative, and is about
    zero for two samples of one distribution. Its standard error is a jackknife over both samples
    (each image left out in turn, exactly, from the row sums of the kernels). It is too large by
    about √2 where the two distributions are the same, where the estimate is degenerate.
    """

    name = "kid"
    least: ClassVar[int] = 3

    def compute(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> Measurement:
        """(N, D) and (M, D) features -> the estimate and its standard error."""
        x, y = checked(self.name, generated, reference, self.least)
        own_x, own_y = _own(x), _reference(y)
        with_y, with_x = _sums(x, y.values)
        n, m = len(x), len(y.values)
        between = with_y.sum()
        within_x, within_y = own_x.sum(), own_y.sum()
        value = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)
        # The same with one image left out; terms without that image are constants, and drop out of the variance.
        without_x = (within_x - 2 * own_x) / ((n - 1) * (n - 2)) - 2 * (between - with_y) / ((n - 1) * m)
        without_y = (within_y - 2 * own_y) / ((m - 1) * (m - 2)) - 2 * (between - with_x) / (n * (m - 1))
        variance = (n - 1) * without_x.var() + (m - 1) * without_y.var()
        return Measurement(float(value), float(np.sqrt(variance)))


@lru_cache(maxsize=4)
def _reference(y: Fixed) -> NDArray[np.float64]:
    return _own(y.values)


def _own(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_{j ≠ i} k(x_i, x_j) for each i. (N,)."""
    return _sums(x, x)[0] - _cubic(np.square(x).sum(1), x.shape[1])


def _sums(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Σ_j k(x_i, y_j) for each i, (N,), and Σ_i k(x_i, y_j) for each j, (M,), in blocks of rows."""
    rows, columns = np.empty(len(x)), np.zeros(len(y))
    for start in range(0, len(x), _BLOCK):
        block = x if len(x) <= _BLOCK else x[start : start + _BLOCK]  # x itself: BLAS then knows a symmetric product
        kernel = _cubic(block @ y.T, x.shape[1])
        rows[start : start + _BLOCK] = kernel.sum(1)
        columns += kernel.sum(0)
    return rows, columns


def _cubic(products: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """(x·y/D + 1)³, made in place of the products."""
    products /= dimensions
    products += 1
    return np.multiply(products, products * products, out=products)
