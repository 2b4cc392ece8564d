"""Fusion through a gate that keeps the variance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context
from ablate_zoo.modules.fusion_skip import SkipDropout, SkipNorm, match, weigh


class Gated(nn.Module):
    """ŝ = Norm(s), g = gate(d, ŝ), y = (d + g⊙ŝ)/√(1 + g²).

    gate: a module (d, ŝ, context) -> g, broadcastable to ŝ; None: g = 1. A dropped skip counts as g = 0.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        embedding: int,
        gate: nn.Module | None,
        norm: str = "group",
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.norm = SkipNorm(norm, channels, embedding)
        self.gate = gate
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        normed = self.norm(self.match(s), context)
        g = torch.ones(1, device=d.device) if self.gate is None else self.gate(d, normed, context)
        return weigh(d, normed, self.drop(g, len(d)))
