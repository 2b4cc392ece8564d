"""Fusions of a skip connection: what becomes of the decoder's feature d and the encoder's s, (d, s, context) -> y."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context
from ablate_zoo.layers.attention import pass_on, zero
from ablate_zoo.layers.magnitudes import mp_weights
from ablate_zoo.layers.norms import group_norm
from ablate_zoo.layers.skip_attention import SkipAttention


def unit_conv(inputs: int, outputs: int, fan_in: int | None = None, bias: bool = True) -> nn.Conv2d:
    """Build a 1×1 convolution that keeps the mean square at the start: weights of variance 1/fan_in, bias 0."""
    conv = nn.Conv2d(inputs, outputs, 1, bias=bias)
    bound = (3 / (fan_in or inputs)) ** 0.5
    nn.init.uniform_(conv.weight, -bound, bound)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def match(skip_channels: int, channels: int) -> nn.Module:
    """Build the projection of a skip to the decoder's width, where they differ."""
    return nn.Identity() if skip_channels == channels else unit_conv(skip_channels, channels)


class SkipNorm(nn.Module):
    """Norm of the skip, ŝ = Norm(s): "group", "adaptive_group" (then scale and shift from the embedding) or "none".

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
    """Skip dropout: multiplies by 0 the skips of some images, with probability p each, in training alone.

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
    """Compute the weighted sum (d + w·s)/√(1 + w²), or d + w·s.

    The first has the variance of d where s has it too and they are uncorrelated.

    d, s: (B, C, H, W); weight: broadcastable to them. √ is taken in the weight's own precision.
    """
    y = torch.addcmul(d, weight.to(d.dtype), s.to(d.dtype))
    return y * torch.rsqrt(1 + weight * weight).to(d.dtype) if renorm else y


class Add(nn.Module):
    """Skip connection by addition: y = d + s."""

    def __init__(self, channels: int, skip_channels: int, skip_dropout: float = 0.0) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        return d + self.drop(self.match(s), len(d))


class RenormAdd(nn.Module):
    """Skip connection by addition that keeps the variance: ŝ = Norm(s), s̃ = α·ŝ, y = (d + s̃)/√(1 + α²).

    Each of the three steps can be left out.

    alpha is where α begins: fixed, or learned as one number or one a channel. A dropped skip counts as
    α = 0, so that its image keeps y = d.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        embedding: int,
        norm: str = "group",
        alpha: float = 1.0,
        learned: bool = True,
        per_channel: bool = True,
        renorm: bool = True,
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.norm = SkipNorm(norm, channels, embedding)
        start = torch.full((channels if learned and per_channel else 1, 1, 1), alpha)
        if learned:
            self.alpha = nn.Parameter(start)
        else:
            self.register_buffer("alpha", start, persistent=False)
        self.renorm = renorm
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        normed = self.norm(self.match(s), context)
        return weigh(d, normed, self.drop(self.alpha, len(d)), self.renorm)

    def pass_through(self) -> None:
        """Begin with α = 0, in place, where α is learned: then y = d."""
        if isinstance(self.alpha, nn.Parameter):
            nn.init.zeros_(self.alpha)


class Lerp(nn.Module):
    """Skip connection by interpolation: y = s + f·(d − s), f one learned number (Crowson et al. 2024).

    start: where f begins. A dropped skip counts as f = 1, so that its image keeps y = d.
    """

    def __init__(self, channels: int, skip_channels: int, start: float = 0.5, skip_dropout: float = 0.0) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.factor = nn.Parameter(torch.full((1,), start))
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        share = self.drop(1 - self.factor, len(d)).to(d.dtype)  # of the skip
        return torch.addcmul(d, share, self.match(s).to(d.dtype) - d)


class Concat(nn.Module):
    """Skip connection by concatenation: W·[d, g⊙s], W a 1×1 convolution; or [d, g⊙s] as it is.

    gate: a module (d, s, context) -> g, broadcastable to s; None: g = 1. W is held in two halves, because
    W·[d, s] = W_d·d + W_s·s needs no copy of both features, and none is kept for the backward pass. mp: without W,
    the parts are multiplied by `mp_weights`.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        project: bool = True,
        gate: nn.Module | None = None,
        skip_dropout: float = 0.0,
        mp: bool = False,
    ) -> None:
        super().__init__()
        self.project = project
        self.weights = mp_weights(channels, skip_channels, 0.5) if mp else None
        if project:
            both = channels + skip_channels
            self.decoder = unit_conv(channels, channels, fan_in=both)
            self.skip = unit_conv(skip_channels, channels, fan_in=both, bias=False)
        self.gate = gate
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W), or (B, C + S, H, W) without the projection."""
        if self.gate is not None:
            s = s * self.gate(d, s, context).to(s.dtype)
        s = self.drop(s, len(d))
        if self.weights is not None:
            d, s = d * self.weights[0], s * self.weights[1]
        return self.decoder(d) + self.skip(s) if self.project else torch.cat([d, s], dim=1)

    def pass_through(self) -> None:
        """Begin as W = [1, 0], in place, where there is W: what comes of it is d."""
        if self.project:
            pass_on(self.decoder)
            zero(self.skip)


class Gated(nn.Module):
    """Gated skip connection: ŝ = Norm(s), g = gate(d, ŝ), y = (d + g⊙ŝ)/√(1 + g²).

    gate: a module (d, ŝ, context) -> g, broadcastable to ŝ; None: g = 1. A dropped skip counts as g = 0.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        embedding: int,
        gate: nn.Module | None,
        norm: str = "group",
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.norm = SkipNorm(norm, channels, embedding)
        self.gate = gate
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        normed = self.norm(self.match(s), context)
        g = torch.ones(1, device=d.device) if self.gate is None else self.gate(d, normed, context)
        return weigh(d, normed, self.drop(g, len(d)))


class Attention(nn.Module):
    """Skip connection by cross-attention: y = d + g⊙Attn(Q = d, K = V = φ(s)), φ(s) the normalised skip.

    Keys are pooled or in windows. The residual is d itself, and the attention's last layer is zero at the start, so
    that y = d there. gate: a module (d, a, context) -> g, where a is what the attention gives; None: g = 1.
    """

    def __init__(
        self, channels: int, attention: SkipAttention, gate: nn.Module | None = None, skip_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = attention
        self.gate = gate
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        a = self.attention(d, s)
        if self.gate is not None:
            a = a * self.gate(d, a, context).to(a.dtype)
        return d + self.drop(a, len(d))


def low_pass(x: Tensor, cutoff: float) -> Tensor:
    """Compute the low frequencies of feature maps by FFT: x times 1/(1 + (r/cutoff)⁴) in the spectrum.

    r: distance from zero frequency in units of the highest one along an axis (half a cycle a pixel); at the
    cutoff, in (0, 1], a half is left. The edge is soft, so that it does not ring. x − low_pass(x) are the
    high frequencies. (B, C, H, W) -> the same, in x's dtype; the FFT runs in fp32. Any H, W ≥ 1.
    """
    height, width = x.shape[-2:]
    rows = torch.fft.fftfreq(height, d=0.5, device=x.device)[:, None]
    columns = torch.fft.rfftfreq(width, d=0.5, device=x.device)
    squared = (rows.square() + columns.square()) / cutoff**2  # (r/cutoff)², (H, W//2 + 1)
    passed = 1 / (1 + squared.square())
    return torch.fft.irfft2(torch.fft.rfft2(x.float()) * passed, s=(height, width)).to(x.dtype)


class BandScale(nn.Module):
    """Low and high frequencies scaled: a_low·low(s) + a_high·high(s), each channel for itself; low(s) + high(s) = s.

    "fixed": a_low = low, a_high = high. "learned": they begin there, one pair a channel. "time": they are
    2·low·sigmoid(b + w·asinh(c_noise)), and so for high, with b and w learned from 0, one pair a channel.
    """

    def __init__(self, channels: int, cutoff: float, low: float = 1.0, high: float = 1.0, how: str = "learned") -> None:
        super().__init__()
        self.cutoff = cutoff
        self.how = how
        start = torch.tensor([[low], [high]])
        if how == "learned":
            self.scale = nn.Parameter(start.repeat(1, channels))
        else:
            self.register_buffer("scale", start, persistent=False)
        if how == "time":
            self.bias = nn.Parameter(torch.zeros(2, 1, channels))
            self.slope = nn.Parameter(torch.zeros(2, 1, channels))

    def forward(self, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        scale: Tensor = self.scale  # (2, channels or 1)
        if self.how == "time":
            level = torch.asinh(context.noise.float())[:, None]  # (B, 1)
            scale = scale[:, None] * 2 * torch.sigmoid(self.bias + self.slope * level)  # (2, B, channels)
        low, high = scale[..., None, None].to(s.dtype)
        # low·L + high·(s − L), with a pass over the maps less
        return torch.addcmul(s * high, low_pass(s, self.cutoff), low - high)


class Frequency(nn.Module):
    """Skip connection with scaled frequency bands: merge(d, bands(s), context)."""

    def __init__(self, bands: BandScale, merge: nn.Module) -> None:
        super().__init__()
        self.bands = bands
        self.merge = merge

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        return self.merge(d, self.bands(s, context), context)
