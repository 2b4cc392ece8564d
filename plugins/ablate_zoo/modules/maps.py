"""Layers of feature maps (B, C, H, W): norms, convolutions, resampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate_zoo.modules.attention import zero


class LayerNorm(nn.LayerNorm):
    """Mean and variance over the channels of each place (Ba et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class RMSNorm(nn.RMSNorm):
    """Root mean square over the channels of each place (Zhang & Sennrich 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def norm(kind: str, channels: int, groups: int) -> nn.Module:
    """The norm of that kind: group (Wu & He 2018), instance (a group a channel), layer, rms."""
    if kind in ("group", "instance"):
        return nn.GroupNorm(groups if kind == "group" else channels, channels, eps=1e-5)
    return {"layer": LayerNorm, "rms": RMSNorm}[kind](channels, eps=1e-5)


def conv3x3(inputs: int, outputs: int, separable: bool = False, stride: int = 1) -> nn.Module:
    """A 3×3 convolution; separable: a 3×3 filter a channel, then a 1×1 convolution (Chollet 2017)."""
    if not separable:
        return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))


def begin_at_zero(convolution: nn.Module) -> nn.Module:
    """The convolution with its last layer at zero: what it is added to starts unchanged."""
    zero(convolution[-1] if isinstance(convolution, nn.Sequential) else convolution)
    return convolution


def resized(x: Tensor, direction: str) -> Tensor:
    """Without weights: "down" takes the mean of 2×2 places, "up" repeats each place 2×2 times."""
    return F.avg_pool2d(x, 2) if direction == "down" else F.interpolate(x, scale_factor=2, mode="nearest")


class Resample(nn.Module):
    """Half or twice the size between levels.

    With weights: down by a convolution of stride 2, up by nearest neighbour and a convolution (DDPM). Without:
    the mean of 2×2 places, and nearest neighbour.
    """

    def __init__(self, channels: int, direction: str, weights: bool, separable: bool = False) -> None:
        super().__init__()
        self.by_stride = weights and direction == "down"
        self.direction = direction
        stride = 2 if self.by_stride else 1
        self.convolution = conv3x3(channels, channels, separable, stride) if weights else nn.Identity()

    def forward(self, x: Tensor, context: object = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2) or (B, C, 2·H, 2·W)."""
        return self.convolution(x if self.by_stride else resized(x, self.direction))


def dropped(branch: Tensor, share: float) -> Tensor:
    """DropPath: a whole image's branch at a time is zero, with that probability (Huang et al. 2016)."""
    kept = torch.empty(len(branch), 1, 1, 1, dtype=branch.dtype, device=branch.device).bernoulli_(1 - share)
    return branch * kept.div_(1 - share)
