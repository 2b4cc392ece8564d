"""optimizer `radam`: rectified Adam, plain momentum steps until the gradient's variance is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Parameters
from ablate_zoo.optimizer._decaying import AdamLike

if TYPE_CHECKING:
    import torch


class RAdam(AdamLike):
    """RAdam (Liu et al. 2020, Algorithm 2), with decoupled weight decay: a warm-up that follows from beta2.

    Consistency models (Song et al. 2023) train with it.
    """

    name = "radam"

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Torch's own RAdam, foreach: it has no fused kernel."""
        import torch

        return torch.optim.RAdam(
            self.groups(parameters),
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            decoupled_weight_decay=True,
            foreach=True,
        )
