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


Rotation = tuple[Tensor, Tensor]  # cos and sin of the angles, each (N, d/2)


class Positions(nn.Module):
    """Adds to tokens (B, N, D) where they are, or says how queries and keys are turned."""

    def rotation(self, joined: int) -> Rotation | None:
        """Of all tokens, `joined` of which come first and have no place; None: nothing is turned."""
        return None


class SinCos2d(Positions):
    """A fixed table is added, sin and cos of the row and of the column (Dosovitskiy et al. 2021, appendix D.4)."""

    table: Tensor  # (N, D)

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        device = torch.empty(0).device  # the one that the network is built on
        self.register_buffer("table", positions_2d(height, width, size).to(device), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return tokens + self.table


class Learned(Positions):
    """A vector a place is learned, and added (Dosovitskiy et al. 2021); standard deviation 0.02 at the start."""

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(1, height * width, size))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return tokens + self.table


class Rope2d(Positions):
    """Rotary positions (Su et al. 2021): one half of a head turns with the row, the other with the column.

    A product of query and key then depends on the difference of their places alone. The frequencies go
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

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) as it is: places enter by the rotation."""
        return tokens

    def rotation(self, joined: int) -> Rotation | None:
        """For the places, after `joined` tokens without one, which are not turned."""
        if joined == 0:
            return self.cos, self.sin
        half = self.cos.shape[1]
        return (
            torch.cat([self.cos.new_ones(joined, half), self.cos]),
            torch.cat([self.sin.new_zeros(joined, half), self.sin]),
        )


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn each pair (x_i, x_{i+d/2}) of (B, heads, N, d) by the token's i-th angle (Su et al. 2021, eq. 34)."""
    cos, sin = rotation  # (N, d/2)
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
