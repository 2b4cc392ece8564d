"""Concatenation of a decoder feature with its skip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context
from ablate_zoo.modules.fusion_skip import SkipDropout, unit_conv


class Concat(nn.Module):
    """W·[d, g⊙s], W a 1×1 convolution; or [d, g⊙s] as it is.

    gate: a module (d, s, context) -> g, broadcastable to s; None: g = 1. W is held in two halves, because
    W·[d, s] = W_d·d + W_s·s needs no copy of both features, and none is kept for the backward pass.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        project: bool = True,
        gate: nn.Module | None = None,
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.project = project
        if project:
            both = channels + skip_channels
            self.decoder = unit_conv(channels, channels, fan_in=both)
            self.skip = unit_conv(skip_channels, channels, fan_in=both, bias=False)
        self.gate = gate
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W), or (B, C + S, H, W) without the projection."""
        if self.gate is not None:
            s = s * self.gate(d, s, context).to(s.dtype)
        s = self.drop(s, len(d))
        return self.decoder(d) + self.skip(s) if self.project else torch.cat([d, s], dim=1)
