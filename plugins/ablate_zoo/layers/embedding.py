"""Embeddings of timestep (noise level) and class label, the condition that they make, and rotation by position."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ablate.api import Context, Labels, class_labels
from ablate_zoo.layers.conditions import Embedders


def frequencies(values: Tensor, size: int, period: float = 10_000.0, endpoint: bool = False) -> Tensor:
    """Compute the sinusoidal embedding of (B,) numbers, (B, size): cos and sin at size/2 frequencies, 1 to 1/period.

    endpoint: whether the lowest frequency is 1/period itself, or the next one would be.
    """
    half = size // 2
    last = half - 1 if endpoint else half
    rates = torch.exp(-math.log(period) / last * torch.arange(half, dtype=torch.float32, device=values.device))
    angles = values.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class LevelEmbedding(nn.Module):
    """Timestep embedding: the noise label through 256 frequencies and a 2-layer SiLU MLP (Peebles & Xie 2023, 3).

    waves: a module (B,) -> (B, size) in the place of the frequencies. layers: 1 leaves out the second layer and the
    activation before it. activation: a module.
    """

    def __init__(
        self,
        width: int,
        size: int = 256,
        waves: nn.Module | None = None,
        layers: int = 2,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.waves = waves
        self.first = nn.Linear(size, width)
        self.activation = nn.SiLU() if activation is None else activation
        self.second = nn.Linear(width, width) if layers == 2 else None
        for layer in (self.first, self.second):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, noise: Tensor) -> Tensor:
        """(B,) -> (B, width)."""
        return self.project(self.frequencies(noise))

    def frequencies(self, noise: Tensor) -> Tensor:
        """(B,) -> (B, size)."""
        waves = frequencies(noise, self.size) if self.waves is None else self.waves(noise.float())
        return waves.to(self.first.weight.dtype)

    def project(self, waves: Tensor) -> Tensor:
        """(B, size) -> (B, width)."""
        h = self.first(waves)
        return h if self.second is None else self.second(self.activation(h))


class EndpointFrequencies(nn.Module):
    """`frequencies` whose lowest one is 1/period itself (Ho et al. 2020, as in Vaswani et al. 2017's code)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Tensor) -> Tensor:
        """(B,) -> (B, size)."""
        return frequencies(values, self.size, endpoint=True)


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
    further: embeds the other conditions. total(timestep, label) -> (B, D) takes the place of their sum.
    """

    def __init__(
        self,
        level: nn.Module,
        label: nn.Module | None,
        way: nn.Module | None = None,
        further: Embedders | None = None,
        total: Callable[[Tensor, Tensor], Tensor] = torch.add,
    ) -> None:
        super().__init__()
        self.level = level
        self.label = label
        self.way = way
        self.further = further
        self.total = total

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
            embedding, tokens = self.total(timestep, label), torch.stack([timestep, label], dim=1)
        context = Context(embedding, tokens, noise)
        return context if self.further is None else self.further(context, labels)


class JoinedEmbedding(nn.Module):
    """Condition of the network whose class is added to the noise level's frequencies, before their MLP (EDM's DDPM++).

    level: a `LevelEmbedding`; label(classes) -> (B, size of the frequencies); further: as of `LevelAndClass`. There is
    one token, for both.
    """

    def __init__(self, level: LevelEmbedding, label: nn.Module | None, further: Embedders | None = None) -> None:
        super().__init__()
        self.level = level
        self.label = label
        self.further = further

    def forward(self, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Context:
        """As of `LevelAndClass`."""
        if second is not None:
            raise TypeError("this network takes no second noise label; build it with class_embedding: after_mlp")
        waves, classes = self.level.frequencies(noise), class_labels(labels)
        if self.label is not None and classes is not None:
            waves = waves + self.label(classes).to(waves.dtype)
        embedding = self.level.project(waves)
        context = Context(embedding, embedding[:, None], noise)
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
