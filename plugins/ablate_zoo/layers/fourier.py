"""Random Fourier features of a noise level, single and in pairs, and the learned log variance that reads them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class RandomFourier(nn.Module):
    """Random Fourier features: √2·cos(2π·(f·c + p)), f normal, p uniform in [0, 1), both fixed; of unit mean square."""

    frequency: Tensor
    phase: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.randn(size))
        self.register_buffer("phase", torch.rand(size))

    def forward(self, noise: Tensor) -> Tensor:
        """(...,) -> (..., size)."""
        return (2 * math.pi * (noise[..., None] * self.frequency + self.phase)).cos() * math.sqrt(2)


class FourierPairs(nn.Module):
    """Random Fourier features in pairs, cos and sin of 2π·f·c, f normal of deviation `scale` (Song et al. 2021).

    c is the noise label, which goes with the logarithm of the noise level.
    """

    frequency: Tensor

    def __init__(self, size: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.randn(size // 2) * scale)

    def forward(self, noise: Tensor) -> Tensor:
        """(...,) -> (..., size)."""
        angles = 2 * math.pi * noise[..., None] * self.frequency
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


class LogVariance(nn.Module):
    """Learned log variance u of a noise label (Karras et al. 2024, eq. 14).

    Linear in random Fourier features, 0 before training. The features are divided by the root of their number, so
    that a step of Adam at rate r moves u by about r·√size.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.features = RandomFourier(size)
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, noise: Tensor) -> Tensor:
        """(...,) -> (...,)."""
        return self.features(noise) @ self.weight / math.sqrt(len(self.weight))
