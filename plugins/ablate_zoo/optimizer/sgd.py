"""optimizer `sgd`: stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from ablate.api import Parameters, Range
from ablate_zoo.optimizer._decaying import Decaying, fused, plain

if TYPE_CHECKING:
    import torch


class Sgd(Decaying):
    """SGD with momentum: v ← momentum·v + g, w ← w − lr·v, and Nesterov's look ahead (Sutskever et al. 2013).

    One copy of the weights instead of Adam's two. The rate has to be much higher than Adam's, and
    clipping matters: a long gradient is a long step. The weight decay is part of the gradient.
    """

    name = "sgd"

    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.99)] = 0.9
    nesterov: bool = False  # needs momentum

    @model_validator(mode="after")
    def _ahead_needs_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum, which is 0: give a momentum such as 0.9")
        return self

    def provides(self) -> frozenset[str]:
        """Each number's step is its own."""
        return super().provides() | {"stackable"}

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Torch's own SGD."""
        import torch

        groups = self.groups(parameters)
        one_kernel = fused(groups) and plain(groups)  # torch has none for shards
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=one_kernel)
