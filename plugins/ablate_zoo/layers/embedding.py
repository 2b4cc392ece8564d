"""Embeddings of timestep (noise level), class label and position, and the condition that the first two make."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ablate.api import Context


def frequencies(values: Tensor, size: int, period: float = 10_000.0) -> Tensor:
    """Compute the sinusoidal embedding of (B,) numbers, (B, size): cos and sin at size/2 frequencies, 1 to 1/period."""
    half = size // 2
    rates = torch.exp(-math.log(period) / half * torch.arange(half, dtype=torch.float32, device=values.device))
    angles = values.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class LevelEmbedding(nn.Module):
    """Timestep embedding: the noise label through 256 frequencies and a 2-layer SiLU MLP (Peebles & Xie 2023, 3)."""

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
    """Timestep embedding without an MLP: as many frequencies as the network is wide (Bao et al. 2023, section 3.1).

    A learned vector is added, as U-ViT does it by the position of the timestep's token.
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
    """Class embedding: a learned vector for each class, and at index `classes` one for the null class."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__(classes + 1, width)
        nn.init.normal_(self.weight, std=0.02)


class LevelAndClass(nn.Module):
    """Condition of the network: timestep embedding and class embedding, as their sum and as a sequence of tokens.

    level(noise) -> (B, D) and label(classes) -> (B, D) embed them; label is None for data without classes. way(noise −
    second) -> (B, D) embeds how far a second noise label is, and is added to the timestep; None: there is none.
    """

    def __init__(self, level: nn.Module, label: nn.Module | None, way: nn.Module | None = None) -> None:
        super().__init__()
        self.level = level
        self.label = label
        self.way = way

    def forward(self, noise: Tensor, labels: Tensor | None, second: Tensor | None = None) -> Context:
        """(B,), (B,) or None, (B,) or None -> a Context with 1 or 2 tokens. second: None is the first label itself."""
        embedding = timestep = self.level(noise)
        if self.way is not None:
            embedding = timestep = timestep + self.way(torch.zeros_like(noise) if second is None else noise - second)
        elif second is not None:
            raise TypeError("this network takes no second noise label; build it with second_label: true")
        tokens = timestep[:, None]
        if self.label is not None and labels is not None:
            label = self.label(labels).to(timestep.dtype)
            embedding, tokens = timestep + label, torch.stack([timestep, label], dim=1)
        return Context(embedding, tokens, noise)


class ContextTokens(nn.Module):
    """In-context conditioning: the condition's own tokens, through a linear layer only where the widths differ."""

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.project = nn.Identity() if embedding == width else nn.Linear(embedding, width)

    def forward(self, context: Context) -> Tensor:
        """(B, L, width)."""
        return self.project(context.tokens)


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


Rotation = tuple[Tensor, Tensor]  # cos and sin of the angles, each (N, d/2)


class Positions(nn.Module):
    """Positional embedding: adds to tokens (B, N, D) where they are, or says how queries and keys are rotated."""

    def rotation(self, joined: int) -> Rotation | None:
        """The rotation of all tokens, `joined` of which come first and have no position; None: nothing is rotated."""
        return None


class SinCos2d(Positions):
    """Sinusoidal positional embedding, 2-D: sin and cos of row and column are added (Dosovitskiy et al. 2021, D.4)."""

    table: Tensor  # (N, D)

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        device = torch.empty(0).device  # the one that the network is built on
        self.register_buffer("table", positions_2d(height, width, size).to(device), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return tokens + self.table


class Learned(Positions):
    """Learned positional embedding: a vector for each position is added (Dosovitskiy et al. 2021)."""

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(1, height * width, size))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return tokens + self.table


class Rope2d(Positions):
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

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) as it is: positions enter by the rotation."""
        return tokens

    def rotation(self, joined: int) -> Rotation | None:
        """Cos and sin of each position, after those of `joined` tokens without one, which are not rotated."""
        if joined == 0:
            return self.cos, self.sin
        half = self.cos.shape[1]
        return (
            torch.cat([self.cos.new_ones(joined, half), self.cos]),
            torch.cat([self.sin.new_zeros(joined, half), self.sin]),
        )


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate each pair (x_i, x_{i+d/2}) of (B, heads, N, d) by the token's i-th angle (Su et al. 2021, eq. 34)."""
    cos, sin = rotation  # (N, d/2)
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
