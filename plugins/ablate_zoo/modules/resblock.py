"""Residual blocks of a U-Net: two convolutions, or self-attention, each one branch that is added to its input."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context, Modulation
from ablate_zoo.modules.maps import dropped, resized

NOTHING = Modulation()


class Residual(nn.Module):
    """How a branch is added to what passes by: x + h, (x + h)/√2, or (x + a·h)/√(1 + a²) with a learned from 1.

    Dividing keeps the variance of x where the branch has the same variance (Song et al. 2021, appendix H).
    """

    def __init__(self, rescale: str, drop_path: float) -> None:
        super().__init__()
        self.factor = math.sqrt(0.5) if rescale == "sqrt_half" else 1.0
        self.weight = nn.Parameter(torch.ones(())) if rescale == "learned" else None
        self.drop_path = drop_path

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Both alike in shape. The branch must be the caller's own: its memory is used for the sum."""
        if self.training and self.drop_path:
            branch = dropped(branch, self.drop_path)
        if self.weight is not None:
            a = self.weight.to(branch.dtype)
            return (x + a * branch) * torch.rsqrt(1 + a * a)
        total = branch.add_(x)  # a convolution's output is not needed for its gradient
        return total if self.factor == 1.0 else total.mul_(self.factor)


class ResidualBlock(nn.Module):
    """norm, SiLU, convolution; norm, what conditions, SiLU, dropout, convolution; added to the input.

    norm(channels) and convolution(inputs, outputs) make its layers; `last` is applied to the second
    convolution. resample: None, "down" or "up": within the block, both its branch and what passes by change
    their size (Brock et al. 2019, BigGAN), `project` with a 1×1 convolution on the latter.
    modulation(context) -> (Modulation,) acts on the second norm, bias before it; attention(x, context), over
    the places as tokens, follows the branch.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Callable[[int], nn.Module],
        convolution: Callable[[int, int], nn.Module],
        last: Callable[[nn.Module], nn.Module],
        residual: Residual,
        modulation: nn.Module | None = None,
        attention: nn.Module | None = None,
        dropout: float = 0.0,
        resample: str | None = None,
        project: bool = False,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm1 = norm(inputs)
        self.conv1 = convolution(inputs, outputs)
        self.modulation = modulation
        self.norm2 = norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = last(convolution(outputs, outputs))
        self.skip = nn.Conv2d(inputs, outputs, 1) if project or inputs != outputs else nn.Identity()
        self.residual = residual
        self.cross = attention

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W), or half or twice the size."""
        (how,) = (NOTHING,) if self.modulation is None else self.modulation(context)
        h = F.silu(self.norm1(x))
        if self.resample is not None:
            h, x = resized(h, self.resample), resized(x, self.resample)
        h = self.conv1(h)
        if how.bias is not None:
            h = h.add_(how.bias[:, :, None, None])
        h = modulated(self.norm2(h), how)
        h = self.conv2(self.dropout(F.silu(h)))
        if how.gate is not None:
            h = h * how.gate[:, :, None, None]
        x = self.residual(self.skip(x), h)
        return x if self.cross is None else x + over_places(self.cross, x, context)


class SelfAttentionBlock(nn.Module):
    """norm, then attention over the places of the maps, added to the input."""

    def __init__(self, norm: nn.Module, attention: nn.Module, residual: Residual) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.residual(x, over_places(self.attention, self.norm(x)))


def modulated(h: Tensor, how: Modulation) -> Tensor:
    """h·(1 + scale) + shift over maps: (B, C, H, W) with (B, C)."""
    scale = None if how.scale is None else 1 + how.scale[:, :, None, None]
    shift = None if how.shift is None else how.shift[:, :, None, None]
    if scale is not None and shift is not None:
        return torch.addcmul(shift, h, scale)
    if scale is not None:
        return h * scale
    return h if shift is None else h + shift


def over_places(attention: nn.Module, x: Tensor, *context: Context) -> Tensor:
    """Attention with the places of the maps as tokens, (B, H·W, C); a view where the channels lie last."""
    b, c, height, width = x.shape
    last = x.is_contiguous(memory_format=torch.channels_last)
    tokens = attention(x.permute(0, 2, 3, 1).reshape(b, height * width, c), *context)
    maps = tokens.view(b, height, width, c).permute(0, 3, 1, 2)
    return maps if last else maps.contiguous()  # in the memory format that it came in
