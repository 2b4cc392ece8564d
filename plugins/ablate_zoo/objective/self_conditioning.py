"""objective `self_conditioning`: the denoising loss of a network that is told the image it has found before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import PREDICTION, Choice, ConditionSpec, Host, InputSpec, Objective

if TYPE_CHECKING:
    from torch import nn


class SelfConditioning(Objective):
    """Denoising with self-conditioning (Chen et al. 2023, "Analog Bits", section 3.2 and Alg. 1).

    For a share of the images the network is asked twice: first without, then with the image x̂0 that it found, which has
    no gradient. In sampling it is told the x̂0 of the evaluation before, which costs nothing more. The network reads it
    as the condition `prediction`, as channels where it has no embedder for it. Which images are asked twice is drawn by
    the image, so the first pass is made of the whole batch.
    """

    name = "self_conditioning"

    rate: Annotated[float, Field(gt=0, le=1), Choice(0.5, 0.9)] = 0.5  # share of the images that are told

    def provides(self) -> frozenset[str]:
        """Activations at the batch, and its prediction; a network that is told its last one in sampling."""
        return frozenset({"activations", "prediction", "self_conditioning"})

    def conditions(self, setting: InputSpec) -> tuple[ConditionSpec, ...]:
        """An image of the data's shape."""
        return (ConditionSpec(PREDICTION, "image", setting.shape, held=True),)

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained beside the network."""
        from ablate_zoo.objective._modules import SelfConditionedLoss

        return SelfConditionedLoss(self.rate)
