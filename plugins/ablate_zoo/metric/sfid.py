"""metric `sfid`: Fréchet distance between spatial features, which sees where things are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ablate.api import Collector, Features, Measurement, Metric, slot
from ablate_zoo.metric._moments import Moments, frechet

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class SpatialFrechetDistance(Metric):
    """`fd` of features that are not pooled over the image, Nash et al. 2021, sec. 5.1.

    Of Inception-v3 the first 7 channels of a convolution at 17×17 (2023 dimensions), as the
    evaluation of ADM takes them.
    """

    name = "sfid"
    least: ClassVar[int] = 2
    head: ClassVar[str] = "spatial"
    collects: ClassVar[type[Collector]] = Moments

    features: Features = slot("inception_v3")

    def compute(self, generated: Moments | ArrayLike, reference: ArrayLike) -> Measurement:
        """Moments or (N, D), and (M, D) spatial features -> the distance, 0 or more."""
        return Measurement(frechet(self.name, generated, reference, self.least))
