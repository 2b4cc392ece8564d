"""Fusions by addition: a decoder feature plus its skip, plain or renormalised."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context
from ablate_zoo.modules.fusion_skip import SkipDropout, SkipNorm, match, weigh


class Add(nn.Module):
    """y = d + s."""

    def __init__(self, channels: int, skip_channels: int, skip_dropout: float = 0.0) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        return d + self.drop(self.match(s), len(d))


class RenormAdd(nn.Module):
    """ŝ = Norm(s), s̃ = α·ŝ, y = (d + s̃)/√(1 + α²); each of the three steps can be left out.

    alpha is where α begins: fixed, or learned as one number or one a channel. A dropped skip counts as
    α = 0, so that its image keeps y = d.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        embedding: int,
        norm: str = "group",
        alpha: float = 1.0,
        learned: bool = True,
        per_channel: bool = True,
        renorm: bool = True,
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.norm = SkipNorm(norm, channels, embedding)
        start = torch.full((channels if learned and per_channel else 1, 1, 1), alpha)
        if learned:
            self.alpha = nn.Parameter(start)
        else:
            self.register_buffer("alpha", start, persistent=False)
        self.renorm = renorm
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        normed = self.norm(self.match(s), context)
        return weigh(d, normed, self.drop(self.alpha, len(d)), self.renorm)
