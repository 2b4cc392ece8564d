"""Positional embeddings of a grid of patches: sinusoidal, learned, rotary."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate_zoo.layers.embedding import Rotation, frequencies


def positions_2d(height: int, width: int, size: int) -> Tensor:
    """Sinusoidal positional embedding of a grid: (1, height·width, size), half of it for the row, half for the column.

    size must be a multiple of 4.
    """
    rows = frequencies(torch.arange(height, device="cpu"), size // 2).roll(size // 4, dims=1)  # sin first, as in MAE
    columns = frequencies(torch.arange(width, device="cpu"), size // 2).roll(size // 4, dims=1)
    grid = torch.cat(
        [columns[None].expand(height, -1, -1), rows[:, None].expand(-1, width, -1)], dim=-1
    )  # (height, width, size)
    return grid.reshape(1, height * width, size)


class SinCos2d(nn.Module):
    """Sinusoidal positional embedding, 2-D: sin and cos of row and column are added (Dosovitskiy et al. 2021, D.4)."""

    table: Tensor  # (N, D)

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        device = torch.empty(0).device  # the one that the network is built on
        self.register_buffer("table", positions_2d(height, width, size).to(device), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return tokens + self.table


class Learned(nn.Module):
    """Learned positional embedding: a vector for each position is added (Dosovitskiy et al. 2021)."""

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(1, height * width, size))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return tokens + self.table


class Rope2d(nn.Module):
    """Rotary positional embedding, RoPE (Su et al. 2021): half of a head turns with the row, half with the column.

    A product of query and key then depends on the difference of their positions alone. The frequencies go
    from 1 down to 1/period; the heads' width must be a multiple of 4, two numbers a turn.
    """

    cos: Tensor  # (N, d/2)
    sin: Tensor

    def __init__(self, height: int, width: int, size: int, period: float = 10_000.0) -> None:
        super().__init__()
        device = torch.empty(0).device
        rows, columns = (frequencies(torch.arange(n, device="cpu"), size // 2, period) for n in (height, width))
        grid = [
            torch.cat([r[:, None].expand(-1, width, -1), c[None].expand(height, -1, -1)], dim=-1)
            for r, c in zip(rows.chunk(2, dim=-1), columns.chunk(2, dim=-1), strict=True)
        ]  # cos and sin, (height, width, size/2)
        for name, table in zip(("cos", "sin"), grid, strict=True):
            self.register_buffer(name, table.reshape(height * width, size // 2).to(device), persistent=False)

    def forward(self) -> Rotation:
        """Cos and sin of each place's angles."""
        return self.cos, self.sin
