"""Layers of feature maps (B, C, H, W): norms, convolutions, resampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context, Modulation
from ablate_zoo.layers.attention import zero


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


class Cell(nn.Module):
    """One step: fuse with a skip (or not), a block or a change of size, self-attention (or not)."""

    def __init__(self, body: nn.Module, attention: nn.Module | None = None, fusion: nn.Module | None = None) -> None:
        super().__init__()
        self.fusion = fusion
        self.body = body
        self.attention = attention

    def forward(self, x: Tensor, context: Context, skips: list[Tensor]) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'); takes the last of the skips where it fuses one."""
        if self.fusion is not None:
            x = self.fusion(x, skips.pop(), context)
        x = self.body(x, context)
        return x if self.attention is None else self.attention(x)


class UNet(nn.Module):
    """A convolution; an encoder, whose every output is a skip; a middle; a decoder that fuses the skips; a convolution.

    channels: (of the image, after the first convolution, before the last, of the prediction).
    low_resolution: the image joined by another of its shape, a small one that was enlarged (ADM's upsampler).
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        condition: nn.Module,
        encoder: Sequence[nn.Module],
        middle: Sequence[nn.Module],
        decoder: Sequence[nn.Module],
        norm: nn.Module,
        low_resolution: bool = False,
    ) -> None:
        super().__init__()
        image, first, last, prediction = channels
        self.low_resolution = low_resolution
        self.condition = condition
        self.stem = nn.Conv2d(2 * image if low_resolution else image, first, 3, padding=1)
        self.encoder = nn.ModuleList(encoder)
        self.middle = nn.ModuleList(middle)
        self.decoder = nn.ModuleList(decoder)
        self.norm = norm
        self.head = nn.Conv2d(last, prediction, 3, padding=1)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None, low: Tensor | None = None) -> Tensor:
        """Image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, prediction, H, W).

        low: (B, C, H, W) with `low_resolution`; None: an empty image in its place.
        """
        context = self.condition(noise, labels)
        if self.low_resolution:
            x = torch.cat([x, torch.zeros_like(x) if low is None else low], dim=1)
        if x.device.type == "cpu":
            # Convolutions are faster so, and the places of a map are tokens without a copy. Elsewhere group norm
            # gives its output in torch's own order, whatever it was given: there, each norm would cost a copy.
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        skips = [x]
        for cell in self.encoder:
            x = cell(x, context, skips)
            skips.append(x)
        for cell in (*self.middle, *self.decoder):
            x = cell(x, context, skips)
        return self.head(F.silu(self.norm(x))).contiguous()
