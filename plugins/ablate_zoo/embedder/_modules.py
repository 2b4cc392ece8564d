"""Modules of the embedders."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ablate.api import Embedded, Told
from ablate_zoo.layers.embedding import frequencies


class FourierEmbedding(nn.Module):
    """(B, K) numbers, each by its frequencies, through a two-layer MLP with SiLU."""

    def __init__(self, inputs: int, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.first = nn.Linear(inputs * size, width)
        self.second = nn.Linear(width, width)
        self.null = nn.Parameter(torch.empty(width))
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.null, std=0.02)

    def forward(self, told: Told) -> Embedded:
        """(B, width)."""
        seen = frequencies(told.value.flatten(), self.size).view(len(told.value), -1)
        vector = self.second(F.silu(self.first(seen.to(self.first.weight.dtype))))
        return Embedded(vector=torch.where(told.there()[:, None], vector, self.null.to(vector.dtype)))


class TextEmbedding(nn.Module):
    """Tokens (B, L), or features of them (B, L, F), to vectors (B, L, width), with positions and transformer blocks.

    count: token numbers; features: F where there are none. The vectors of padding and of no text are learned.
    """

    def __init__(
        self, length: int, count: int | None, features: int | None, width: int, depth: int, heads: int, pooled: bool
    ) -> None:
        super().__init__()
        self.words: nn.Linear | nn.Embedding
        if count is None:
            self.words = nn.Linear(features or 1, width)
            nn.init.zeros_(self.words.bias)
        else:
            self.words = nn.Embedding(count, width)
        self.special = nn.Parameter(torch.empty(2, width))  # of padding, and of no text
        self.positions = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.words.weight, std=0.02)
        for parameter in (self.special, self.positions):
            nn.init.normal_(parameter, std=0.02)
        self.blocks = nn.ModuleList(_block(width, heads) for _ in range(depth))
        self.pool = nn.Linear(width, width) if pooled else None

    def forward(self, told: Told) -> Embedded:
        """The sequence, which of it counts, and the mean of that."""
        there = told.there()
        mask = (
            torch.ones(told.value.shape[:2], dtype=torch.bool, device=there.device) if told.mask is None else told.mask
        )
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        mask = torch.where(there[:, None], mask, first)  # a dropped text is one token, a text without tokens none
        padding, nothing = self.special.to(self.words.weight.dtype).unbind()
        words = self.words(told.value if told.value.ndim == 2 else told.value.to(self.words.weight.dtype))
        words = torch.where(there[:, None, None], words, nothing)
        tokens = torch.where(mask[..., None], words + self.positions, padding)
        counted = mask | ~mask.any(1, keepdim=True)  # attention over nothing has no value
        for block in self.blocks:
            tokens = torch.where(mask[..., None], block(tokens, src_key_padding_mask=~counted), padding)
        if self.pool is None:
            return Embedded(tokens=tokens, mask=mask)
        weight = counted[..., None].to(tokens.dtype)
        return Embedded(self.pool((tokens * weight).sum(1) / weight.sum(1)), tokens, mask)


def _block(width: int, heads: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
