"""conditioning `cross_attention`: every block attends to the tokens of timestep and class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ablate.api import Added, Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class CrossAttention(Conditioning):
    """A cross-attention layer after each block's self-attention (DiT, section 3.2).

    In a block of feature maps, after its branch: every place of the maps looks.
    """

    name = "cross_attention"
    reads_heads = True

    norm: Annotated[bool, Added(before=False)] = False  # layer norm of what looks; DiT's has none

    def provides(self) -> frozenset[str]:
        """The network looks at every token of its condition."""
        return frozenset({"condition_tokens"})

    def attention(self, site: Site) -> nn.Module:
        """Attention over the condition's tokens."""
        from ablate_zoo.layers.attention import LookAtCondition

        return LookAtCondition(site.width, site.embedding, site.heads, self.norm)
