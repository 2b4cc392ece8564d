"""guidance `none`: no guidance, the network's conditional prediction as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Guidance, Labels, Level, Predictor

if TYPE_CHECKING:
    from torch import Tensor


class NoGuidance(Guidance):
    """No guidance, ŷ = y(x, labels): every training label is kept, one call in sampling."""

    name = "none"
    default = True

    def drop_rate(self) -> float:
        """Zero."""
        return 0.0

    def predict(self, predict: Predictor, x: Tensor, labels: Labels, null: int, level: Level) -> Tensor:
        """The conditional prediction."""
        return predict(x, labels)

    def describe(self) -> str:
        """`none`."""
        return self.name
