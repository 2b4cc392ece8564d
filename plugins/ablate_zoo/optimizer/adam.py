"""optimizer `adam`: Adam, steps of the gradient's mean over its root mean square."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Parameters
from ablate_zoo.optimizer._decaying import AdamLike, fused

if TYPE_CHECKING:
    import torch


class Adam(AdamLike):
    """Adam (Kingma & Ba 2015, Algorithm 1); the weight decay is part of the gradient, and is scaled with it.

    DDPM, EDM and EDM2 train with it, without decay: there it takes the same steps as adamw.
    """

    name = "adam"

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Torch's own Adam."""
        import torch

        groups = self.groups(parameters)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused(groups))
