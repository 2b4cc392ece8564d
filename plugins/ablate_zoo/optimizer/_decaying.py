"""What optimizers with weight decay share: the decay, whom it spares, and whether torch has one kernel for a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ablate.api import Optimizer, Range

if TYPE_CHECKING:
    import torch

_FUSED = {"cpu", "cuda", "mps", "xpu"}  # devices for which torch has one kernel for the whole step


class Decaying(Optimizer):
    """An optimizer that also pulls weights towards zero."""

    weight_decay: Annotated[float, Field(ge=0, le=10), Range(1e-4, 0.3, log=True)] = 0.0
    decay_vectors: bool = False  # biases, gains of norms and the like decay too

    def groups(self, parameters: Iterable[torch.nn.Parameter]) -> list[dict[str, Any]]:
        """The parameters as torch's groups: all of them, or the vectors apart, without decay."""
        parameters = list(parameters)
        if not self.weight_decay or self.decay_vectors:
            return [{"params": parameters, "weight_decay": self.weight_decay}]
        split = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        return [group for group in split if group["params"]]


def fused(groups: Sequence[dict[str, Any]]) -> bool:
    """Return whether every parameter is where torch's fused kernels work; elsewhere foreach is torch's own default."""
    return all(p.device.type in _FUSED and p.is_floating_point() for group in groups for p in group["params"])


class AdamLike(Decaying):
    """An optimizer with two running averages of each gradient (Kingma & Ba 2015)."""

    # at 1e-4 a run of some ten thousand images hardly trains (benchmarks/short_run_defaults.py)
    lr: Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)] = 1e-3
    beta1: Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.95)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.999
    eps: Annotated[float, Field(gt=0, le=1), Range(1e-10, 1e-6, log=True)] = 1e-8

    @property
    def betas(self) -> tuple[float, float]:
        """As torch takes them."""
        return self.beta1, self.beta2
