"""gate `channel`: a number for each channel of the skip, by squeeze and excitation (Hu et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Gate

if TYPE_CHECKING:
    from torch import nn


class ChannelGate(Gate):
    """Squeeze and excitation: g = sigmoid(W₂·SiLU(W₁·mean[d, s])), one a channel (Hu et al. 2018, eq. 3; here SiLU).

    g = 0.88 at first.
    """

    name = "channel"

    reduction: Annotated[int, Field(ge=1, le=65_536), Choice(4, 8, 16)] = 8  # channels of [d, s] / hidden width

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.gate._modules`."""
        from ablate_zoo.gate._modules import ChannelGate as Module

        return Module(channels, skip_channels, self.reduction)
