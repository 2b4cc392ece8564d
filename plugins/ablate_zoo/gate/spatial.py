"""gate `spatial`: a number for each pixel of the skip, by a convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Gate

if TYPE_CHECKING:
    from torch import nn


class SpatialGate(Gate):
    """Spatial gate: g = sigmoid(3×3 convolution of [d, s]), one a pixel. g = 0.88 at first."""

    name = "spatial"

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.gate._modules`."""
        from ablate_zoo.gate._modules import SpatialGate as Module

        return Module(channels, skip_channels)
