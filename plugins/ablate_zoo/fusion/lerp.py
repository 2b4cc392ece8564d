"""fusion `lerp`: skip connection by learned interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate_zoo.fusion._skip import SkipFusion

if TYPE_CHECKING:
    from torch import nn


class Lerp(SkipFusion):
    """Linear interpolation, y = s + f·(d − s), f one learned number for each skip (Crowson et al. 2024, HDiT).

    The shares of d and s add up to 1, so what both have alike keeps its size.
    """

    name = "lerp"

    factor: Annotated[float, Field(ge=0, le=1)] = 0.5  # where f, the share of d, begins

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.fusion._modules`."""
        from ablate_zoo.fusion._modules import Lerp as Module

        return Module(channels, skip_channels, self.factor, self.skip_dropout)
