"""conditioning `cross_attention`: every block looks at time and class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.api import Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class CrossAttention(Conditioning):
    """A cross-attention layer after each block's self-attention (DiT, section 3.2)."""

    name = "cross_attention"

    def requires(self) -> Mapping[str, str]:
        """Tokens that look."""
        return {"tokens": "the tokens of a transformer are what attends to the condition"}

    def attention(self, site: Site) -> nn.Module:
        """Attention over the condition's tokens."""
        from ablate_zoo.modules.condition import LookAtCondition

        return LookAtCondition(site.width, site.embedding, site.heads)
