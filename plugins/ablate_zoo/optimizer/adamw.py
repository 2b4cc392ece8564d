"""adamw: Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range
from ablate_zoo.optimizer._decaying import Decaying, fused

if TYPE_CHECKING:
    import torch


class AdamW(Decaying):
    """Loshchilov & Hutter 2019, Algorithm 2; without weight decay it is Adam (Kingma & Ba 2015).

    The defaults are those of DiT (Peebles & Xie 2023): a constant rate of 1e-4, no decay.
    """

    name = "adamw"
    default = True

    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The decay of a step is lr · weight_decay · w."""
        import torch

        groups = self.groups(parameters)
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(groups, lr=self.lr, betas=betas, eps=self.eps, fused=fused(groups))
