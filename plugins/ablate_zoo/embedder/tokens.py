"""embedder `tokens`: a text as a sequence of vectors, and as their mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, ConditionSpec, Embedder, EmbedderSite

if TYPE_CHECKING:
    from torch import nn


class Tokens(Embedder):
    """A vector and a position for each token, then `depth` transformer blocks, trained with the network.

    The sequence joins the tokens of timestep and class, for cross-attention and in-context conditioning; its mean goes
    through a linear layer and is added to the timestep's embedding, for adaLN (as PixArt, SD3 and others pool a text).
    Features of a frozen text encoder, (L, F), go through a linear layer in place of the table. Padding is a learned
    vector that cross-attention does not see. A dropped text is one learned token.
    """

    name = "tokens"
    forms = ("text",)

    depth: Annotated[int, Field(ge=0, le=48), Choice(0, 2)] = 0  # transformer blocks of its own
    heads: Annotated[int, Field(ge=1, le=1024)] = 4  # of its blocks; the most that divide the width, up to so many
    pooled: bool = True  # whether the mean is added to the timestep's embedding

    def requires(self) -> Mapping[str, str]:
        """A conditioning that looks at tokens, where there is no mean."""
        if self.pooled:
            return {}
        return {
            "condition_tokens": "no mean of the text is read; take a conditioning that looks at tokens, or pooled: true"
        }

    def build(self, spec: ConditionSpec, site: EmbedderSite) -> nn.Module:
        """Table or linear layer, positions, blocks."""
        from ablate_zoo.embedder._modules import TextEmbedding

        heads = max(n for n in range(1, self.heads + 1) if site.embedding % n == 0)
        features = None if spec.count is not None else spec.shape[1]
        return TextEmbedding(spec.shape[0], spec.count, features, site.embedding, self.depth, heads, self.pooled)
