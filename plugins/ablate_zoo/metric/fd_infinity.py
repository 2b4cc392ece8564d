"""metric `fd_infinity`: what the Fréchet distance would be of infinitely many samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ablate.api import InputError, Measurement, Metric
from ablate_zoo.metric._moments import Moments, between, of_reference
from ablate_zoo.metric._vectors import checked, shuffled

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

POINTS = 15  # numbers of samples at which the distance is taken
SPAN = 10  # ... from a tenth of the samples
ENOUGH, SMALLEST = 5, 2  # samples, and samples at the smallest of the points, for each dimension


class InfiniteFrechetDistance(Metric):
    """The Fréchet distance of N samples, as a line in 1/N, extrapolated to 1/N = 0, Chong & Forsyth 2020.

    The bias of the Fréchet distance is linear in 1/N only where N is large beside the dimensions D
    of the features: N ≥ 5·D is asked for, and no point of the line has fewer than 2·D samples; what is
    left of the bias is then under a tenth of it, downward. Which samples belong to which point depends
    on their content, not on their order. The reference's own number of samples still counts.
    """

    name = "fd_infinity"
    least: ClassVar[int] = 20

    def fewest(self, dimensions: int | None) -> int:
        """Five for each dimension: the line that is extrapolated holds for no fewer."""
        return self.least if dimensions is None else max(self.least, ENOUGH * dimensions)

    def compute(self, generated: ArrayLike, reference: ArrayLike) -> Measurement:
        """(N, D) and (M, D) features -> the intercept, which may be a little below 0."""
        x, y = checked(self.name, generated, reference, 2)
        if len(x) < self.fewest(x.shape[1]):
            raise InputError(
                f"{self.name} needs at least {self.fewest(x.shape[1])} generated samples for {x.shape[1]} dimensions, "
                f"not {len(x)}: the distance is no line in 1/N before; take fd or kid"
            )
        x = x[shuffled(x)]
        low = max(len(x) // SPAN, SMALLEST * x.shape[1])
        reference_moments, moments, values = of_reference(y), Moments(), []
        sizes = np.linspace(low, len(x), POINTS).astype(int)
        for first, last in zip([0, *sizes], sizes, strict=False):
            moments.add(x[first:last])
            values.append(between(moments, *reference_moments))
        _, intercept = np.polyfit(1 / sizes, values, 1)
        return Measurement(float(intercept))
