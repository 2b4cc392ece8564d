"""metric: how far generated images are from real ones."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component, slot
from ablate.kinds.features import Features

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Measurement:
    """A value and, where the metric knows it, its standard error."""

    value: float
    error: float | None = None


class Metric(Component):
    """Compares two sets of feature vectors. Smaller is better unless `larger_is_better`."""

    kind: ClassVar[str] = "metric"
    larger_is_better: ClassVar[bool] = False
    least: ClassVar[int] = 2  # fewest samples for which the value is defined

    features: Features = slot()

    def label(self, samples: int) -> str:
        """The name of its column: `kid_<features>`, or a canonical name where that is earned."""
        name, least = self.features.canonical.get(self.name, (None, 0))
        return name if name and samples >= least else f"{self.name}_{self.features.name}"

    @abstractmethod
    def compute(self, generated: NDArray[np.float64], reference: NDArray[np.float64]) -> Measurement:
        """(N, D) and (M, D) features -> the measurement."""
