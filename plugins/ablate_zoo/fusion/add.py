"""fusion `add`: skip connection by addition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate_zoo.fusion._skip import SkipFusion

if TYPE_CHECKING:
    from torch import nn


class Add(SkipFusion):
    """Skip connection by addition, y = d + s: the variance grows with every skip."""

    name = "add"

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.fusion._modules`."""
        from ablate_zoo.fusion._modules import Add as Module

        return Module(channels, skip_channels, self.skip_dropout)
