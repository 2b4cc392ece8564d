"""mixer `linear`: linear attention, whose cost grows with the tokens, not with their square."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import MixerSite
from ablate_zoo.mixer._attention import Attention

if TYPE_CHECKING:
    from torch import nn


class Linear(Attention):
    """Linear attention: softmax(Q)·(softmax(K)ᵀV), over features and over tokens (Shen et al. 2021)."""

    name = "linear"

    def build(self, site: MixerSite) -> nn.Module:
        """`SelfAttention` of `ablate_zoo.layers.attention`."""
        from ablate_zoo.layers.attention import LinearProduct, self_attention

        return self_attention(site, LinearProduct(), self.values(site), self.shared_key_value)
