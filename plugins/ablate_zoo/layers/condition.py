"""Conditions as tokens: time, class and words; joining a sequence, or looked at from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context
from ablate_zoo.layers.attention import CrossAttention, xavier


class LevelAndClass(nn.Module):
    """Time and class, as their sum and as tokens.

    level(noise) -> (B, D) and label(classes) -> (B, D) embed them; label is None for data without classes.
    """

    def __init__(self, level: nn.Module, label: nn.Module | None) -> None:
        super().__init__()
        self.level = level
        self.label = label

    def forward(
        self, noise: Tensor, labels: Tensor | None, words: Tensor | None = None, mask: Tensor | None = None
    ) -> Context:
        """(B,), (B,) or None -> a Context with 1 or 2 tokens, followed by the words (B, L, D), such as of a text.

        mask: (B, L) bool, False where a word is padding. Words are tokens alone; they are not in the sum.
        """
        both = time = self.level(noise)
        tokens = time[:, None]
        if self.label is not None and labels is not None:
            label = self.label(labels).to(time.dtype)
            both, tokens = time + label, torch.stack([time, label], dim=1)
        if words is None:
            return Context(both, tokens, noise)
        if mask is not None:  # time and class count
            mask = torch.cat([mask.new_ones(tokens.shape[:2]), mask], dim=1)
        return Context(both, torch.cat([tokens, words.to(tokens.dtype)], dim=1), noise, mask)


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
