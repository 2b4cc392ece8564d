"""adam: steps of the gradient's mean over its root mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range
from ablate_zoo.optimizer._decaying import Decaying, fused

if TYPE_CHECKING:
    import torch


class Adam(Decaying):
    """Kingma & Ba 2015, Algorithm 1; the weight decay is part of the gradient, and is scaled with it.

    DDPM, EDM and EDM2 train with it, without decay: there it takes the same steps as adamw.
    """

    name = "adam"

    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Torch's own Adam."""
        import torch

        groups = self.groups(parameters)
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(groups, lr=self.lr, betas=betas, eps=self.eps, fused=fused(groups))
