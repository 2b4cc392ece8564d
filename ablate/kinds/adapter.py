"""adapter: what of a trained network is trained on: all of it, or a few numbers beside its weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn


class Adapter(Component):
    """Changes a network that has begun with trained weights, before the first step.

    One that freezes weights requires "trained_start", and provides "adapted_weights", which networks exclude that do
    something else with their weights. `params` and `gflops` are those of the network without it: what it has learned
    can be added to the weights that it was added to.
    """

    kind: ClassVar[str] = "adapter"
    freezes: ClassVar[bool] = False  # whether it leaves weights as they are, so that fewer are trained than there are

    @abstractmethod
    def apply(self, network: nn.Module) -> None:
        """Replace layers in place; before training the network computes what it computed.

        What is not trained has `requires_grad` False. Weights are drawn from torch's global generator. Also on the meta
        device. Raises ValueError where the network has nothing to adapt, and says what.
        """
