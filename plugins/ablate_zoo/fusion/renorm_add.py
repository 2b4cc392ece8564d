"""fusion `renorm_add`: skip connection by addition, normalised, weighted and renormalised to keep the variance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range, When
from ablate_zoo.fusion._skip import NormedFusion

if TYPE_CHECKING:
    from torch import nn


class RenormAdd(NormedFusion):
    """Addition that keeps the variance: ŝ = Norm(s), s̃ = α·ŝ, y = (d + s̃)/√(1 + α²); each step can be left out.

    The variance of y is (Var d + α²)/(1 + α²) where d and s are uncorrelated: 1 where d has 1, whatever
    the scale of s. Without norm and renorm and with α = 1, fixed, it is `add`.
    """

    name = "renorm_add"

    alpha: Annotated[float, Field(ge=0, le=10), Range(0.1, 2.0)] = 1.0  # α, or where it begins
    learned: bool = True  # α is trained
    per_channel: Annotated[bool, When("learned", (True,))] = True  # one α a channel, not one for all
    renorm: bool = True  # divide by √(1 + α²)

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.fusion._modules`."""
        from ablate_zoo.fusion._modules import RenormAdd as Module

        return Module(
            channels,
            skip_channels,
            embedding,
            self.norm,
            self.alpha,
            self.learned,
            self.per_channel,
            self.renorm,
            self.skip_dropout,
        )
