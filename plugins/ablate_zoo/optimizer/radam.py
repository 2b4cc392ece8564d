"""radam: Adam that takes plain momentum steps until it knows the gradient's variance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range
from ablate_zoo.optimizer._decaying import Decaying

if TYPE_CHECKING:
    import torch


class RAdam(Decaying):
    """Liu et al. 2020, Algorithm 2, with decoupled weight decay: a warm-up that follows from beta2.

    Consistency models (Song et al. 2023) train with it.
    """

    name = "radam"

    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Torch's own RAdam, foreach: it has no fused kernel."""
        import torch

        return torch.optim.RAdam(
            self.groups(parameters),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            decoupled_weight_decay=True,
            foreach=True,
        )
