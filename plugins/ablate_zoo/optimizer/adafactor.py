"""optimizer `adafactor`: Adafactor, Adam's second moment factorised, without a first: almost no memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Parameters, Range
from ablate_zoo.optimizer._decaying import Decaying

if TYPE_CHECKING:
    import torch


class Adafactor(Decaying):
    """Adafactor (Shazeer & Stern 2018, Algorithm 5), at a rate relative to each tensor's own size.

    A step is lr · max(rms(w), least) · u, with u's root mean square at most `threshold`; lr is at most
    1/√step. The state takes rows + columns where Adam's takes twice rows · columns.
    """

    name = "adafactor"

    beta2_decay: Annotated[float, Field(ge=-1, lt=0), Range(-0.9, -0.5)] = -0.8  # beta2 = 1 − step^this
    least: Annotated[float, Field(gt=0, le=1), Range(1e-4, 1e-2, log=True)] = 1e-3  # root mean square of a tensor
    threshold: Annotated[float, Field(ge=1, le=100), Range(1, 2)] = 1.0  # root mean square of u, at the most

    def excludes(self) -> Mapping[str, str]:
        """Weights in shards."""
        why = "its step follows the rows and columns of whole matrices"
        return {"sharded_weights": f"{why}; take adamw, adam, radam or sgd"}

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Torch's own Adafactor, foreach: it has no fused kernel. The weight decay is decoupled."""
        import torch

        return torch.optim.Adafactor(
            self.groups(parameters),
            lr=self.lr,
            beta2_decay=self.beta2_decay,
            eps=(None, self.least),
            d=self.threshold,
            foreach=True,
        )
