"""Embeddings of noise level, class and place."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def frequencies(values: Tensor, size: int, period: float = 10_000.0) -> Tensor:
    """The cos and sin of (B,) numbers at size/2 frequencies from 1 down to 1/period: (B, size)."""
    half = size // 2
    rates = torch.exp(-math.log(period) / half * torch.arange(half, dtype=torch.float32, device=values.device))
    angles = values.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class LevelEmbedding(nn.Module):
    """The noise label through 256 frequencies and a 2-layer SiLU MLP (Peebles & Xie 2023, section 3)."""

    def __init__(self, width: int, size: int = 256) -> None:
        super().__init__()
        self.size = size
        self.first = nn.Linear(size, width)
        self.second = nn.Linear(width, width)
        nn.init.normal_(self.first.weight, std=0.02)
        nn.init.normal_(self.second.weight, std=0.02)
        nn.init.zeros_(self.first.bias)
        nn.init.zeros_(self.second.bias)

    def forward(self, noise: Tensor) -> Tensor:
        """(B,) -> (B, width)."""
        embedded = frequencies(noise, self.size).to(self.first.weight.dtype)
        return self.second(nn.functional.silu(self.first(embedded)))


class FrequencyEmbedding(nn.Module):
    """The noise label at as many frequencies as the network is wide, without an MLP (Bao et al. 2023, section 3.1).

    A vector is learned and added, as U-ViT does it by the position of the time token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.position = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, noise: Tensor) -> Tensor:
        """(B,) -> (B, width)."""
        return frequencies(noise, self.width) + self.position


class ClassEmbedding(nn.Embedding):
    """A vector a class, and one more, at index `classes`, for "no class"."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__(classes + 1, width)
        nn.init.normal_(self.weight, std=0.02)


def positions_2d(height: int, width: int, size: int) -> Tensor:
    """Fixed sin-cos positions on a grid: (1, height·width, size), half of it for the row, half for the column.

    size must be a multiple of 4.
    """
    rows = frequencies(torch.arange(height, device="cpu"), size // 2).roll(size // 4, dims=1)  # sin first, as in MAE
    columns = frequencies(torch.arange(width, device="cpu"), size // 2).roll(size // 4, dims=1)
    grid = torch.cat(
        [columns[None].expand(height, -1, -1), rows[:, None].expand(-1, width, -1)], dim=-1
    )  # (height, width, size)
    return grid.reshape(1, height * width, size)
