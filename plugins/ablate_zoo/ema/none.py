"""none: samples are made of the weights as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.api import Average, Ema, Weights

if TYPE_CHECKING:
    from torch import Tensor


class NoAverage(Average):
    """The parameters themselves: nothing is copied or kept."""

    def __init__(self, parameters: Weights) -> None:
        self._parameters = parameters

    def update(self, images: int, batch: int) -> None:
        """Nothing to do."""

    def weights(self) -> dict[str, Weights]:
        """The live parameters, under the label `none`."""
        return {"none": self._parameters}

    def state(self) -> dict[str, Tensor]:
        """Empty: the checkpoint has the parameters anyway."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to do."""


class NoEma(Ema):
    """No average."""

    name = "none"

    def build(self, parameters: Weights) -> Average:
        """A view of the parameters."""
        return NoAverage(parameters)
