"""metric `fd`: Fréchet distance (FID) between two sets of features, each taken as a Gaussian."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ablate.api import Collector, Measurement, Metric
from ablate_zoo.metric._moments import Moments, frechet

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class FrechetDistance(Metric):
    """Fréchet distance |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½), Heusel et al. 2017, eq. 6, with unbiased covariances.

    With Σ = L·Lᵀ the last term is the sum of the singular values of L₁ᵀ·L₂, in which L need not be
    square: the centred samples themselves serve. So it is exact for any number of samples, where a
    matrix square root of rank-deficient covariances turns complex. It is biased upward by the number
    of samples, strongly: compare only at equal numbers. Memory is of the order of D², not of N·D.
    """

    name = "fd"
    least: ClassVar[int] = 2
    collects: ClassVar[type[Collector]] = Moments

    def compute(self, generated: Moments | ArrayLike, reference: ArrayLike) -> Measurement:
        """Moments or (N, D), and (M, D) features -> the distance, 0 or more, in squared units of the features."""
        return Measurement(frechet(self.name, generated, reference, self.least))
