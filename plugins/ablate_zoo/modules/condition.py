"""Conditions as tokens: joining the sequence, or looked at from it."""

from __future__ import annotations

from torch import Tensor, nn

from ablate.api import Context
from ablate_zoo.modules.attention import CrossAttention, xavier


class ContextTokens(nn.Module):
    """The condition's own tokens, through a linear layer only where the widths differ."""

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.project = nn.Identity() if embedding == width else nn.Linear(embedding, width)

    def forward(self, context: Context) -> Tensor:
        """(B, L, width)."""
        return self.project(context.tokens)


class LookAtCondition(nn.Module):
    """Tokens attend to the condition's tokens.

    Without a norm of its own: with one, DiT-XL/2 would take 137.63 Gflops, not the published 137.62.
    """

    def __init__(self, width: int, embedding: int, heads: int) -> None:
        super().__init__()
        self.attention = CrossAttention(width, embedding, heads)
        xavier(self.attention)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, width): what is added to x."""
        return self.attention(x, context.tokens, context.mask)
