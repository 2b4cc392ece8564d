"""fd: Fréchet distance between two sets of features, each taken as a Gaussian."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ablate.api import Measurement, Metric
from ablate_zoo.metric._vectors import Fixed, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FrechetDistance(Metric):
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½), Heusel et al. 2017, eq. 6, with unbiased covariances.

    With Σ = L·Lᵀ the last term is the sum of the singular values of L₁ᵀ·L₂, in which L need not be
    square: the centred samples themselves serve. So it is exact for any number of samples, where a
    matrix square root of rank-deficient covariances turns complex. It is biased upward by the number
    of samples, strongly: compare only at equal numbers.
    """

    name = "fd"
    least: ClassVar[int] = 2

    def compute(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> Measurement:
        """(N, D) and (M, D) features -> the distance, 0 or more, in squared units of the features."""
        from scipy.linalg import svdvals

        x, y = checked(self.name, generated, reference, self.least)
        mean, trace, factor = _moments(y)
        centred = x - x.mean(0)
        scale = 1 / (len(x) - 1)
        cross = svdvals(centred @ factor, overwrite_a=True, check_finite=False).sum() * np.sqrt(scale)
        means = np.square(x.mean(0) - mean).sum()
        return Measurement(max(0.0, float(means + np.square(centred).sum() * scale + trace - 2 * cross)))


@lru_cache(maxsize=4)
def _moments(y: Fixed) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Mean (D,), trace of the covariance, and a factor L (D, min(M, D)) with L·Lᵀ the covariance."""
    from scipy.linalg import qr

    mean = y.values.mean(0)
    centred = (y.values - mean) / np.sqrt(len(y.values) - 1)
    rows, columns = centred.shape
    trace = float(np.square(centred).sum())
    if rows > columns:
        (centred,) = qr(centred, mode="r", overwrite_a=True, check_finite=False)
        centred = centred[:columns]
    return mean, trace, np.ascontiguousarray(centred.T)
