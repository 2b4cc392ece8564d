"""metric `density_coverage`: how deep generated images lie among real ones, and how many they reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ablate.api import Choice, Measurement, Metric
from ablate_zoo.metric._neighbours import Balls

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class DensityCoverage(Metric):
    """Two values, `density` (0 or more) and `coverage` (0 to 1), Naeem et al. 2020, eqs. 5 and 7.

    Only the reference has balls here, each as large as the distance to its k-th nearest other vector,
    so that one generated outlier cannot claim many real images, as it does for recall. Density is the
    mean number of balls that hold a generated vector, over k: about 1 for real images. Coverage is
    the share of balls that hold one.
    """

    name = "density_coverage"
    larger_is_better: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("density", "coverage")

    k: Annotated[int, Field(ge=1, le=100), Choice(3, 5, 10)] = 5  # which neighbour a ball reaches

    def fewest(self, dimensions: int | None) -> int:
        """One that has k others."""
        return self.k + 1

    def compute(self, generated: ArrayLike, reference: ArrayLike) -> Mapping[str, Measurement]:
        """(N, D) and (M, D) features -> density and coverage; in blocks, so memory is of the order of (N + M)·D."""
        balls = Balls.around(self.name, generated, reference, self.k)
        inside, covered = 0, np.zeros(len(balls.reference), dtype=bool)
        for _, squares in balls.distances():
            squares += balls.rounding
            within = squares < balls.reference_radii
            inside += int(within.sum())
            covered |= within.any(axis=0)
        return {
            "density": Measurement(inside / (self.k * len(balls.generated))),
            "coverage": Measurement(float(covered.mean())),
        }
