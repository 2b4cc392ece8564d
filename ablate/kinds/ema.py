"""ema: averages of the weights, of which samples are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]


class Average(ABC):
    """Running averages of one network's parameters."""

    @abstractmethod
    def update(self, images: int, batch: int) -> None:
        """Take in the parameters after a step; `images` seen so far, `batch` of them in this step."""

    @abstractmethod
    def weights(self) -> dict[str, Weights]:
        """{label: parameters by name}; the first is the one that is measured by default."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""


class Ema(Component):
    """Counts in images, so that the batch size does not change the average."""

    kind: ClassVar[str] = "ema"

    @abstractmethod
    def build(self, parameters: Weights) -> Average:
        """An average that starts at `parameters`, which it reads again at each update."""
