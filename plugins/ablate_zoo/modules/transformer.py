"""Patches as tokens, with their places and with the tokens that join them; and back to an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context
from ablate_zoo.modules.attention import xavier
from ablate_zoo.modules.positions import Positions
from ablate_zoo.modules.transformer_block import Places


class PatchTokens(nn.Module):
    """(B, C, H, W) -> (B, L + N, D): a linear layer over each of N patches, positions, and L tokens in front.

    sequence(context) -> (B, L, D) makes the tokens that join; None:
    none do. outputs: channels of the image that `image` puts together again.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        patch: int,
        width: int,
        outputs: int,
        positions: Positions,
        sequence: nn.Module | None = None,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape
        self.patch = patch
        self.outputs = outputs
        self.grid = (height // patch, breadth // patch)
        self.embed = nn.Linear(channels * patch * patch, width)
        self.positions = positions
        self.sequence = sequence
        xavier(self.embed)

    def forward(self, x: Tensor, context: Context) -> tuple[Tensor, int, Places]:
        """The tokens, the number L of those that have joined, and what attention has to know of them all."""
        tokens = self.positions(self.embed(self.patches(x)))
        if self.sequence is None:
            return tokens, 0, Places(None, self.positions.rotation(0))
        extra = self.sequence(context)  # (B, L, D)
        mask, joined = context.mask, extra.shape[1]
        if mask is not None:  # the patches count
            mask = torch.cat([mask, mask.new_ones(tokens.shape[:2])], dim=1)
        return torch.cat([extra.to(tokens.dtype), tokens], dim=1), joined, Places(mask, self.positions.rotation(joined))

    def patches(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, C·p·p)."""
        b, c, _, _ = x.shape
        (rows, columns), p = self.grid, self.patch
        cut = x.view(b, c, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)
        return cut.reshape(b, rows * columns, c * p * p)

    def image(self, tokens: Tensor) -> Tensor:
        """(B, N, outputs·p·p) -> (B, outputs, H, W)."""
        (rows, columns), p = self.grid, self.patch
        cut = tokens.view(len(tokens), rows, columns, p, p, self.outputs).permute(0, 5, 1, 3, 2, 4)
        return cut.reshape(len(tokens), self.outputs, rows * p, columns * p)
