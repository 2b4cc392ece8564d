"""design `grid`: full factorial design, every combination of the choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

from ablate.api import Assignment, Dimension
from ablate_zoo.design._listed import MOST, Listed, identity


class Grid(Listed):
    """The full factorial design: all interactions, at the cost of the product of the choices."""

    name = "grid"

    def listed(self, dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
        """The product, the last dimension fastest; the baseline comes first where it is part of it."""
        if (count := prod(len(d.choices) for d in dimensions)) > MOST:
            raise self.too_many(f"{count:,}")
        baseline = [[c for c in d.choices if identity(c) == identity(d.baseline)] for d in dimensions]
        if all(baseline):
            yield {d.path: choices[0] for d, choices in zip(dimensions, baseline, strict=True)}
        for combination in product(*(d.choices for d in dimensions)):
            yield {d.path: label for d, label in zip(dimensions, combination, strict=True)}
