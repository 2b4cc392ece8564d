"""adamw: Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Optimizer, Range

if TYPE_CHECKING:
    import torch

_FUSED = {"cpu", "cuda", "mps", "xpu"}  # devices for which torch has one kernel for the whole step


class AdamW(Optimizer):
    """Loshchilov & Hutter 2019, Algorithm 2; without weight decay it is Adam (Kingma & Ba 2015).

    The defaults are those of DiT (Peebles & Xie 2023): a constant rate of 1e-4, no decay.
    """

    name = "adamw"
    default = True

    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0, le=10), Range(1e-4, 0.3, log=True)] = 0.0

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """The decay applies to every parameter alike."""
        import torch

        held = list(parameters)
        return torch.optim.AdamW(
            held,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=all(p.device.type in _FUSED and p.is_floating_point() for p in held),
        )
