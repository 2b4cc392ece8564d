"""fusion `attention`: skip connection by cross-attention, from the decoder's feature to the skip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Choice, Gate, When, slot
from ablate_zoo.fusion._skip import SkipFusion

if TYPE_CHECKING:
    from torch import nn

Keys = Annotated[Literal["pooled", "windowed"], Choice("pooled", "windowed")]


class Attention(SkipFusion):
    """Cross-attention to the skip, y = d + g⊙Attn(Q = d, K = V = φ(s)), φ(s) the normalised skip, pooled or in windows.

    The attention's last layer is zero at the start: y = d there. It finds by content: no positions are added.
    The gate sees d and what the attention gives.
    """

    name = "attention"

    head_width: Annotated[int, Field(ge=8, le=256, multiple_of=8), Choice(32, 64)] = 32  # channels a head
    keys: Keys = "pooled"  # pooled: the whole skip, coarser where it is large; windowed: what is near
    most_keys: Annotated[int, Field(ge=1, le=4096), Choice(64, 256), When("keys", ("pooled",))] = 256  # after pooling
    window: Annotated[int, Field(ge=1, le=64), Choice(4, 8), When("keys", ("windowed",))] = 8  # its side at most
    gate: Gate = slot("none")

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.fusion._modules`."""
        from ablate_zoo.fusion._modules import Attention as Module
        from ablate_zoo.layers.skip_attention import SkipAttention

        window = self.window if self.keys == "windowed" else None
        attention = SkipAttention(channels, skip_channels, channels, self.head_width, self.most_keys, window)
        gate = self.gate.build(channels, channels, embedding)
        return Module(channels, attention, gate, self.skip_dropout)
