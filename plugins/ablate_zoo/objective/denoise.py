"""objective `denoise`: the denoising loss, a regression of the target at random noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Host, Objective

if TYPE_CHECKING:
    from torch import nn


class Denoise(Objective):
    """The denoising loss: the candidate's `loss` of one prediction, plus the log-variance that a weighting learns."""

    name = "denoise"
    default = True
    one_pass = True

    def provides(self) -> frozenset[str]:
        """Activations at the batch, and its prediction."""
        return frozenset({"activations", "prediction"})

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained."""
        from ablate_zoo.objective._modules import DenoisingLoss

        return DenoisingLoss()
