"""Embeddings of timestep (noise level) and class label, the condition that they make, and rotation by position."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ablate.api import Context, Labels, class_labels
from ablate_zoo.layers.conditions import Embedders


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
    further: embeds the other conditions.
    """

    def __init__(
        self, level: nn.Module, label: nn.Module | None, way: nn.Module | None = None, further: Embedders | None = None
    ) -> None:
        super().__init__()
        self.level = level
        self.label = label
        self.way = way
        self.further = further

    def forward(self, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Context:
        """Return the Context: tokens of timestep and class, and of what further conditions there are.

        noise: (B,); second: (B,), or None, which is the first label itself.
        """
        embedding = timestep = self.level(noise)
        if self.way is not None:
            embedding = timestep = timestep + self.way(torch.zeros_like(noise) if second is None else noise - second)
        elif second is not None:
            raise TypeError("this network takes no second noise label; build it with second_label: true")
        tokens = timestep[:, None]
        classes = class_labels(labels)
        if self.label is not None and classes is not None:
            label = self.label(classes).to(timestep.dtype)
            embedding, tokens = timestep + label, torch.stack([timestep, label], dim=1)
        context = Context(embedding, tokens, noise)
        return context if self.further is None else self.further(context, labels)


class ContextTokens(nn.Module):
    """In-context conditioning: the condition's own tokens, through a linear layer only where the widths differ."""

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.project = nn.Identity() if embedding == width else nn.Linear(embedding, width)

    def forward(self, context: Context) -> Tensor:
        """(B, L, width)."""
        return self.project(context.tokens)


Rotation = tuple[Tensor, Tensor]  # cos and sin of the angles, each (N, d/2), or (B, 1, N, d/2)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate each pair (x_i, x_{i+d/2}) of (B, heads, N, d) by the token's i-th angle (Su et al. 2021, eq. 34)."""
    cos, sin = rotation
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
