"""Modules of the U-Net on feature maps (B, C, H, W): residual block, resampling, attention, network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from ablate.api import Context, Labels, Layout, Modulation
from ablate_zoo.layers.attention import zero
from ablate_zoo.layers.conditions import with_channels
from ablate_zoo.layers.magnitudes import mp_sum, pixel_norm
from ablate_zoo.layers.norms import RMSNorm, modulate_maps, stochastic_depth

BOX = (1, 1)  # taps of average pooling, and of nearest neighbour


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel (Ba et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelRMSNorm(RMSNorm):
    """RMS norm over the channels of each pixel (Zhang & Sennrich 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def norm(kind: str, channels: int, groups: int, eps: float = 1e-5, affine: bool = True) -> nn.Module:
    """Build the norm of that kind: group (Wu & He 2018), instance (a group for each channel), layer, rms, none."""
    if kind == "none":
        return nn.Identity()
    if kind in ("group", "instance"):
        return nn.GroupNorm(groups if kind == "group" else channels, channels, eps=eps, affine=affine)
    layer = {"layer": ChannelLayerNorm, "rms": ChannelRMSNorm}[kind]
    return layer(channels, eps=eps, elementwise_affine=affine)


def conv3x3(inputs: int, outputs: int, separable: bool = False, stride: int = 1) -> nn.Module:
    """Build a 3×3 convolution; separable: depthwise 3×3, then pointwise 1×1 (Chollet 2017)."""
    if not separable:
        return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))


class PaddedAtEnd(nn.Module):
    """A convolution of stride 2 whose zeros all lie behind the last row and column (Ho et al. 2020, in TensorFlow)."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        convolution.padding = (0, 0)
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/2, W/2), H and W even."""
        return self.convolution(F.pad(x, (0, 1, 0, 1)))


def begin_at_zero(convolution: nn.Module) -> nn.Module:
    """Zero-initialise the last layer of a convolution: what its output is added to starts unchanged."""
    zero(convolution[-1] if isinstance(convolution, nn.Sequential) else convolution)
    return convolution


def begin_norm_at_zero(norm: nn.Module) -> nn.Module:
    """Zero-initialise the scale of a norm: a branch that ends in it adds nothing at first (Goyal et al. 2017)."""
    assert isinstance(norm.weight, nn.Parameter)
    nn.init.zeros_(norm.weight)
    return norm


def resized(x: Tensor, direction: str, taps: Sequence[int] = BOX) -> Tensor:
    """Resample without weights: "down" by average pooling over 2×2 pixels, "up" by nearest neighbour.

    taps: of another FIR filter along each axis, such as 1, 3, 3, 1 (Zhang 2019; Song et al. 2021); beyond the edge lie
    zeros.
    """
    if tuple(taps) != BOX:
        return filtered(x, direction, taps)
    return F.avg_pool2d(x, 2) if direction == "down" else F.interpolate(x, scale_factor=2, mode="nearest")


def filtered(x: Tensor, direction: str, taps: Sequence[int], padding: int | None = None) -> Tensor:
    """Filter and take every second pixel ("down"), or put zeros between them and filter ("up")."""
    row = torch.tensor(taps, dtype=x.dtype, device=x.device) / sum(taps)
    kernel = torch.outer(row, row).expand(x.shape[1], 1, -1, -1)
    around = (len(taps) - 1) // 2 if padding is None else padding
    if direction == "down":
        return F.conv2d(x, kernel, stride=2, padding=around, groups=x.shape[1])
    return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=around, groups=x.shape[1])


class SideStep(nn.Module):
    """A step of the side path beside a U-Net's encoder: a 3×3 convolution, then half the size by the filter.

    The convolution goes on beyond the edge as far as the filter reaches.
    """

    def __init__(self, inputs: int, outputs: int, taps: Sequence[int] = BOX, bias: bool = True) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1 + (len(taps) - 1) // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/2, W/2)."""
        x = filtered(self.convolution(x), "down", self.taps, padding=0)
        return x if self.bias is None else x + self.bias[:, None, None]


class Resample(nn.Module):
    """Downsampling or upsampling by 2 between levels.

    With weights: down by a convolution of stride 2, up by nearest neighbour and a convolution (DDPM). Without:
    average pooling over 2×2 pixels, and nearest neighbour, or another filter's taps. at_end: where the convolution of
    stride 2 has its zeros.
    """

    def __init__(
        self,
        channels: int,
        direction: str,
        weights: bool,
        separable: bool = False,
        taps: Sequence[int] = BOX,
        at_end: bool = False,
    ) -> None:
        super().__init__()
        self.by_stride = weights and direction == "down"
        self.direction = direction
        self.taps = tuple(taps)
        stride = 2 if self.by_stride else 1
        self.convolution = conv3x3(channels, channels, separable, stride) if weights else nn.Identity()
        if self.by_stride and at_end and isinstance(self.convolution, nn.Conv2d):
            self.convolution = PaddedAtEnd(self.convolution)

    def forward(self, x: Tensor, context: object = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2) or (B, C, 2·H, 2·W)."""
        return self.convolution(x if self.by_stride else resized(x, self.direction, self.taps))


NOTHING = Modulation()
BLOCKS_THAT_RESAMPLE = ("residual", "residual_conv")  # ways of resampling that are residual blocks


class ResidualSum(nn.Module):
    """Residual connection, rescaled or not: x + h, (x + h)/√2, or (x + a·h)/√(1 + a²) with a learned from 1.

    Dividing keeps the variance of x where the branch has the same variance (Song et al. 2021, appendix H); so does
    "mp_sum", in which the branch has the part `balance`. drop_path: the probability of stochastic depth.
    """

    def __init__(self, rescale: str, drop_path: float, balance: float = 0.3) -> None:
        super().__init__()
        self.balance = balance if rescale == "mp_sum" else None
        self.factor = math.sqrt(0.5) if rescale == "sqrt_half" else 1.0
        self.weight = nn.Parameter(torch.ones(())) if rescale == "learned" else None
        self.drop_path = drop_path

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Both alike in shape. The branch must be the caller's own: its memory is used for the sum."""
        if self.training and self.drop_path:
            branch = stochastic_depth(branch, self.drop_path)
        if self.balance is not None:
            return mp_sum(x, branch, self.balance)
        if self.weight is not None:
            a = self.weight.to(branch.dtype)
            return (x + a * branch) * torch.rsqrt(1 + a * a)
        total = branch.add_(x)  # a convolution's output is not needed for its gradient
        return total if self.factor == 1.0 else total.mul_(self.factor)


class ResidualBlock(nn.Module):
    """Residual block of a U-Net: norm, SiLU, convolution; norm, modulation, SiLU, dropout, convolution; plus its input.

    norm(channels) and convolution(inputs, outputs) make its layers; `last` is applied to the second
    convolution. resample: None, "down" or "up": within the block, both its branch and what passes by change
    their size (Brock et al. 2019, BigGAN), `project` with a 1×1 convolution on the latter.
    modulation(context) -> (Modulation,) acts on the second norm, bias before it; attention(x, context), over
    the places as tokens, follows the branch. activation: a class of module. skip_first: what passes by is resampled and
    projected before the branch, which reads that; pixel_norm: and normalised by pixel (Karras et al. 2024, figure 22).
    taps: of the resampling's filter. norm_behind: each convolution comes first, and then norm and SiLU; the modulation
    acts on the first norm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Callable[[int], nn.Module],
        convolution: Callable[[int, int], nn.Module],
        last: Callable[[nn.Module], nn.Module],
        residual: ResidualSum,
        modulation: nn.Module | None = None,
        attention: nn.Module | None = None,
        dropout: float = 0.0,
        resample: str | None = None,
        project: bool = False,
        activation: Callable[[], nn.Module] = nn.SiLU,
        skip_first: bool = False,
        pixel_norm: bool = False,
        taps: Sequence[int] = BOX,
        norm_behind: bool = False,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.taps = tuple(taps)
        self.norm_behind = norm_behind
        self.skip_first = skip_first
        self.pixel_norm = pixel_norm
        self.activation = activation()
        self.norm1 = norm(outputs if skip_first or norm_behind else inputs)
        self.conv1 = convolution(outputs if skip_first else inputs, outputs)
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
        if self.skip_first:
            x = self.skip(x if self.resample is None else resized(x, self.resample, self.taps))
        if self.pixel_norm:
            x = pixel_norm(x)
        h = x if self.norm_behind else self.activation(self.norm1(x))
        if self.resample is not None and not self.skip_first:
            h, x = resized(h, self.resample, self.taps), resized(x, self.resample, self.taps)
        h = self.conv1(h)
        if how.bias is not None:
            h = h.add_(how.bias[:, :, None, None])
        h = modulate_maps(self.norm1(h) if self.norm_behind else self.norm2(h), how)
        h = self.conv2(self.dropout(self.activation(h)))
        if self.norm_behind:
            h = self.activation(self.norm2(h))
        if how.gate is not None:
            h = h * how.gate[:, :, None, None]
        x = self.residual(x if self.skip_first else self.skip(x), h)
        return x if self.cross is None else x + over_places(self.cross, x, context)


class PassedBy(nn.Module):
    """Stands in the place of a residual block that is left out: its short way alone, under the same name."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.skip(x)


class SelfAttentionBlock(nn.Module):
    """Self-attention over the pixels of feature maps: norm, attention, plus its input."""

    def __init__(self, norm: nn.Module, attention: nn.Module, residual: ResidualSum) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.residual(x, over_places(self.attention, self.norm(x), Layout(0, (x.shape[2], x.shape[3]))))


def over_places(attention: Callable[[Tensor, Any], Tensor], x: Tensor, beside: Context | Layout) -> Tensor:
    """Apply attention with the pixels of the maps as tokens, (B, H·W, C); a view where the channels lie last.

    beside: its second argument, the condition or how the tokens lie.
    """
    b, c, height, width = x.shape
    last = x.permute(0, 2, 3, 1).is_contiguous()  # as within torch.func too, where formats cannot be asked for
    tokens = attention(x.permute(0, 2, 3, 1).reshape(b, height * width, c), beside)
    maps = tokens.view(b, height, width, c).permute(0, 3, 1, 2)
    return maps if last else maps.contiguous()  # in the memory format that it came in


class TransformerOverMaps(nn.Module):
    """A 1×1 convolution where the channels change, then a transformer block whose tokens are the places.

    (Hoogeboom et al. 2023, "simple diffusion": a U-Net whose smallest sizes are transformers.)
    """

    def __init__(self, inputs: int, outputs: int, block: nn.Module) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.block = block

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        x = self.skip(x)
        layout = Layout(0, (x.shape[2], x.shape[3]))
        return over_places(lambda tokens, context: self.block(tokens, context, layout), x, context)


class Cell(nn.Module):
    """One step of a U-Net: fuse the skip connection (or not), a block or resampling, self-attention (or not).

    limit: what leaves it is kept within ± that; None: it is left as it is.
    """

    def __init__(
        self,
        body: nn.Module,
        attention: nn.Module | None = None,
        fusion: nn.Module | None = None,
        limit: float | None = None,
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.body = body
        self.attention = attention
        self.limit = limit

    def forward(self, x: Tensor, context: Context, skip: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'); the skip connection is there where it fuses one."""
        if self.fusion is not None:
            x = self.fusion(x, skip, context)
        x = self.body(x, context)
        if self.attention is not None:
            x = self.attention(x)
        return x if self.limit is None else x.clamp(-self.limit, self.limit)


class UNet(nn.Module):
    """U-Net: stem, encoder whose every output is a skip connection, middle, decoder that fuses them, head.

    channels: (of the image, after the first convolution, before the last, of the prediction).
    The image's channels are those of the noisy one, of the images that are conditions, and, with `ones`, a channel of
    ones, by which layers without biases know a constant. activation: before the head. gain: behind it.
    side: {cell of the encoder: module}, the steps of a path that begins with the image: what each gives is added to the
    cell's output, over √2, and goes on on both paths.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        condition: nn.Module,
        encoder: Sequence[nn.Module],
        middle: Sequence[nn.Module],
        decoder: Sequence[nn.Module],
        norm: nn.Module,
        activation: nn.Module,
        gain: nn.Module | None = None,
        ones: bool = False,
        side: Mapping[int, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        image, first, last, prediction = channels
        self.condition = condition
        self.stem = nn.Conv2d(image, first, 3, padding=1)
        self.encoder = nn.ModuleList(encoder)
        self.middle = nn.ModuleList(middle)
        self.decoder = nn.ModuleList(decoder)
        self.norm = norm
        self.activation = activation
        self.head = nn.Conv2d(last, prediction, 3, padding=1)
        self.gain = gain
        self.ones = ones
        self.side = nn.ModuleDict({str(place): step for place, step in (side or {}).items()})

    def forward(self, x: Tensor, noise: Tensor, labels: Labels, second: Tensor | None = None) -> Tensor:
        """Image x (B, C, H, W), noise labels (B,), class labels (B,) or None -> (B, prediction, H, W)."""
        context = self.condition(noise, labels, second)
        x = with_channels(x, context)
        if self.ones:
            x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        if x.device.type == "cpu" and forward_ad.unpack_dual(x).tangent is None:
            # Convolutions are faster so, and the places of a map are tokens without a copy. Elsewhere group norm
            # gives its output in torch's own order, whatever it was given: there, each norm would cost a copy. Nor can
            # it differentiate such maps forwards (dual numbers).
            x = x.contiguous(memory_format=torch.channels_last)
        beside, x = x, self.stem(x)
        skips = [x]
        for place, cell in enumerate(self.encoder):
            x = cell(x, context)
            if str(place) in self.side:
                x = beside = (x + self.side[str(place)](beside)) * math.sqrt(0.5)
            skips.append(x)
        for cell in (*self.middle, *self.decoder):
            x = cell(x, context, skips.pop() if cell.fusion is not None else None)
        x = self.head(self.activation(self.norm(x)))
        return (x if self.gain is None else self.gain(x)).contiguous()
