"""optimizer `adamw`: AdamW, Adam with decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Parameters
from ablate_zoo.optimizer._decaying import AdamLike, fused

if TYPE_CHECKING:
    import torch


class AdamW(AdamLike):
    """AdamW (Loshchilov & Hutter 2019, Algorithm 2); without weight decay it is Adam (Kingma & Ba 2015).

    The defaults are for short runs: a constant rate of 1e-3, no decay. DiT trains its millions of steps
    at 1e-4 (Peebles & Xie 2023).
    """

    name = "adamw"
    default = True

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """The decay of a step is lr · weight_decay · w."""
        import torch

        groups = self.groups(parameters)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused(groups))
