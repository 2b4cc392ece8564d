"""Layer scale: a learned factor for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """Layer scale: a learned factor for each channel (Touvron et al. 2021, "Going deeper", section 2)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((width,), start))

    def forward(self, h: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return h * self.factor
