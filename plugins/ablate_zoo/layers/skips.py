"""What fusions do to a skip before it meets the decoder: match its width, normalise it, drop it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context

EPSILON = 1e-6


def unit_conv(inputs: int, outputs: int, fan_in: int | None = None, bias: bool = True) -> nn.Conv2d:
    """A 1×1 convolution that keeps the mean square at the start: weights of variance 1/fan_in, bias 0."""
    conv = nn.Conv2d(inputs, outputs, 1, bias=bias)
    bound = (3 / (fan_in or inputs)) ** 0.5
    nn.init.uniform_(conv.weight, -bound, bound)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def match(skip_channels: int, channels: int) -> nn.Module:
    """The projection of a skip to the decoder's width, where they differ."""
    return nn.Identity() if skip_channels == channels else unit_conv(skip_channels, channels)


def group_norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance within groups of channels of an image (Wu & He 2018), without an affine map.

    (B, C, H, W) -> the same shape and dtype; statistics are taken in fp32. The groups are as many as divide
    C and leave at least 4 channels to each, 32 at most. A group of one number becomes 0.
    """
    channels = x.shape[1]
    most = max(1, min(32, channels // 4))
    groups = next(g for g in range(most, 0, -1) if channels % g == 0)
    return F.group_norm(x, groups, eps=EPSILON).to(x.dtype)  # autocast on a GPU gives fp32


class SkipNorm(nn.Module):
    """ŝ = Norm(s). "group": unit variance; "adaptive_group": then scale and shift from the embedding; "none": s.

    "group" has no scale of its own: ŝ has unit variance in all of training, and what weighs it (α, a gate)
    is the only thing that does. "adaptive_group" is ŝ·(1 + scale) + shift, both zero at the start.
    """

    def __init__(self, how: str, channels: int, embedding: int) -> None:
        super().__init__()
        self.how = how
        if how == "adaptive_group":
            self.regress = nn.Linear(embedding, 2 * channels)
            nn.init.zeros_(self.regress.weight)
            nn.init.zeros_(self.regress.bias)

    def forward(self, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.how == "none":
            return s
        normed = group_norm(s)
        if self.how == "group":
            return normed
        regressed = self.regress(F.silu(context.embedding)).to(normed.dtype)
        scale, shift = regressed[..., None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return torch.addcmul(shift, normed, 1 + scale)


class SkipDropout(nn.Module):
    """Multiplies by 0 the skips of some images, with probability p each, in training alone.

    What is kept is not scaled by 1/(1 − p): an image has its skip, as it will have in use, or has none.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """What weighs the skip, or the skip itself, broadcastable to (B, C, H, W) -> with its images dropped."""
        if not self.training or self.p == 0:
            return x
        return x * (torch.rand(batch, 1, 1, 1, device=x.device) >= self.p)


def weigh(d: Tensor, s: Tensor, weight: Tensor, renorm: bool = True) -> Tensor:
    """(d + w·s)/√(1 + w²), or d + w·s: of the variance of d where s has it too and they are uncorrelated.

    d, s: (B, C, H, W); weight: broadcastable to them. √ is taken in the weight's own precision.
    """
    y = torch.addcmul(d, weight.to(d.dtype), s.to(d.dtype))
    return y * torch.rsqrt(1 + weight * weight).to(d.dtype) if renorm else y
