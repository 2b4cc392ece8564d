"""gate `cross_attention`: a number for each pixel of the skip, by cross-attention from the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Gate

if TYPE_CHECKING:
    from torch import nn


class CrossAttentionGate(Gate):
    """Gate by cross-attention: g = sigmoid(W·Attn(Q = d, K, V = s)), one a pixel; pooled keys. g = 0.88 at first."""

    name = "cross_attention"

    head_width: Annotated[int, Field(ge=8, le=256, multiple_of=8), Choice(32, 64)] = 32  # channels a head
    most_keys: Annotated[int, Field(ge=1, le=4096), Choice(64, 256)] = 64

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.gate._modules`."""
        from ablate_zoo.gate._modules import AttentionGate
        from ablate_zoo.layers.skip_attention import SkipAttention

        return AttentionGate(SkipAttention(channels, skip_channels, 1, self.head_width, self.most_keys))
