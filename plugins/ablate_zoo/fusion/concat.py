"""fusion `concat`: skip connection by concatenation, with or without a 1×1 convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ablate.api import Added, Gate, When, slot
from ablate_zoo.fusion._skip import SkipFusion

if TYPE_CHECKING:
    from torch import nn


class Concat(SkipFusion):
    """Concatenation, y = W·[d, g⊙s], W a 1×1 convolution to d's channels; without it, [d, g⊙s] as it is (DDPM, ADM)."""

    name = "concat"

    project: bool = True  # False: the block that follows takes d's and s's channels together
    gate: Gate = slot("none")
    mp: Annotated[bool, When("project", (False,)), Added(before=False)] = False
    """magnitude-preserving: d and s weigh alike, whatever their channels are (Karras et al. 2024, eq. 103)"""

    def channels(self, channels: int, skip_channels: int) -> int:
        """Those of d and s together, where nothing projects them."""
        return channels if self.project else channels + skip_channels

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.fusion._modules`."""
        from ablate_zoo.fusion._modules import Concat as Module

        gate = self.gate.build(channels, skip_channels, embedding)
        return Module(channels, skip_channels, self.project, gate, self.skip_dropout, self.mp and not self.project)
