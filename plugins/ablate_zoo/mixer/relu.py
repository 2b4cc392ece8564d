"""mixer `relu`: self-attention with ReLU in the place of softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import MixerSite
from ablate_zoo.mixer._attention import Attention

if TYPE_CHECKING:
    from torch import nn


class ReLU(Attention):
    """ReLU attention: max(0, QKᵀ/√d)V/L over L tokens (Wortsman et al. 2023; Zhao et al. 2023, MobileDiffusion).

    No token has to be waited for to know another one's share, and shares do not add up to 1.
    """

    name = "relu"

    def build(self, site: MixerSite) -> nn.Module:
        """`SelfAttention` of `ablate_zoo.layers.attention`."""
        from ablate_zoo.layers.attention import ReLUProduct, self_attention

        return self_attention(site, ReLUProduct(), self.values(site), self.shared_key_value)
