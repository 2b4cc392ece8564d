"""Concatenation of a decoder feature with its skip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context


class Concat(nn.Module):
    """W·[d, s] (1×1 convolution), or [d, s]."""

    def __init__(self, channels: int, skip_channels: int, project: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels + skip_channels, channels, 1) if project else nn.Identity()

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W), or (B, C + S, H, W) without the projection."""
        return self.project(torch.cat([d, s], dim=1))
