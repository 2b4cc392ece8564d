"""fusion `gated`: gated skip connection, renormalised to keep the variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Gate, slot
from ablate_zoo.fusion._skip import NormedFusion

if TYPE_CHECKING:
    from torch import nn


class Gated(NormedFusion):
    """Gated skip connection: ŝ = Norm(s), y = (d + g⊙ŝ)/√(1 + g²), g in [0, 1] from the gate.

    The variance of y is (Var d + g²)/(1 + g²) where d and s are uncorrelated: 1 where d has 1.
    """

    name = "gated"

    gate: Gate = slot("time")

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.fusion._modules`. The gate sees ŝ."""
        from ablate_zoo.fusion._modules import Gated as Module

        gate = self.gate.build(channels, channels, embedding)
        return Module(channels, skip_channels, embedding, gate, self.norm, self.skip_dropout)
