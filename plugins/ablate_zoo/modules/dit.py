"""The diffusion transformer (Peebles & Xie 2023, "Scalable Diffusion Models with Transformers")."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ablate_zoo.modules.attention import xavier, zero
from ablate_zoo.modules.condition import LevelAndClass
from ablate_zoo.modules.transformer import PatchTokens
from ablate_zoo.modules.transformer_block import Block, Head


class DiT(nn.Module):
    """Patches as tokens, blocks, and patches again; what they are made of is the caller's choice."""

    def __init__(
        self, condition: LevelAndClass, tokens: PatchTokens, blocks: Sequence[nn.Module], head: nn.Module
    ) -> None:
        super().__init__()
        self.condition = condition
        self.tokens = tokens
        self.blocks = nn.ModuleList(blocks)
        self.head = head

    def forward(
        self,
        x: Tensor,
        noise: Tensor,
        labels: Tensor | None,
        words: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, outputs, H, W).

        words: (B, L, D), more of the condition as a sequence; mask: (B, L) bool, False where it is padding.
        """
        context = self.condition(noise, labels, words, mask)
        tokens, joined, places = self.tokens(x, context)
        for block in self.blocks:
            tokens = block(tokens, context, places)
        return self.tokens.image(self.head(tokens[:, joined:], context))


def begin(blocks: Sequence[Block], head: Head, at_zero: bool = True) -> None:
    """Initial weights as in DiT: Xavier in the blocks' branches, zero in the last layer (or Xavier there too)."""
    for block in blocks:
        xavier(block.attention)
        xavier(block.mlp)
    xavier(head.linear)
    if at_zero:
        zero(head.linear)
