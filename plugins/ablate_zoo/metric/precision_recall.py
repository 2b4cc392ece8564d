"""metric `precision_recall`: how many generated images look real, and how many real ones could be generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ablate.api import Choice, Measurement, Metric
from ablate_zoo.metric._neighbours import Balls, radii

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class PrecisionRecall(Metric):
    """Two values, `precision` and `recall`, from 0 to 1, Kynkäänniemi et al. 2019, eqs. 1 and 2.

    A set's manifold is the union of balls around its vectors, each as large as the distance to the
    k-th nearest other one. Precision is the share of generated vectors in the reference's manifold,
    recall the share of the reference in the generated one. Both depend on the numbers of samples:
    compare only at equal ones. Published values take 10,000 or 50,000 of each, k = 3.
    """

    name = "precision_recall"
    larger_is_better: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("precision", "recall")

    k: Annotated[int, Field(ge=1, le=100), Choice(3, 5, 10)] = 3  # which neighbour a ball reaches

    def fewest(self, dimensions: int | None) -> int:
        """One that has k others."""
        return self.k + 1

    def compute(self, generated: ArrayLike, reference: ArrayLike) -> Mapping[str, Measurement]:
        """(N, D) and (M, D) features -> precision and recall; in blocks, so memory is of the order of (N + M)·D."""
        balls = Balls.around(self.name, generated, reference, self.k)
        generated_radii = radii(balls.generated, self.k)
        precise, recalled = 0, np.zeros(len(balls.reference), dtype=bool)
        for rows, squares in balls.distances():
            squares -= balls.rounding
            precise += int((squares <= balls.reference_radii).any(axis=1).sum())
            recalled |= (squares <= generated_radii[rows, None]).any(axis=0)
        return {
            "precision": Measurement(precise / len(balls.generated)),
            "recall": Measurement(float(recalled.mean())),
        }
