"""mixer `softmax`: self-attention, all tokens over all tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import MixerSite
from ablate_zoo.mixer._attention import Attention

if TYPE_CHECKING:
    from torch import nn


class Softmax(Attention):
    """Multi-head self-attention: softmax(QKᵀ/√d)V (Vaswani et al. 2017, eq. 1)."""

    name = "softmax"

    def build(self, site: MixerSite) -> nn.Module:
        """`SelfAttention` of `ablate_zoo.layers.attention`."""
        from ablate_zoo.layers.attention import DotProduct, self_attention

        return self_attention(site, DotProduct(), self.values(site), self.shared_key_value)
