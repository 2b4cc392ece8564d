"""Fusions by addition: a decoder feature plus its skip, plain or renormalised."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context
from ablate_zoo.layers.skips import SkipDropout, SkipNorm, match, unit_conv, weigh


class Add(nn.Module):
    """y = d + s."""

    def __init__(self, channels: int, skip_channels: int, skip_dropout: float = 0.0) -> None:
        super().__init__()
        self.match = match(skip_channels, channels)
        self.drop = SkipDropout(skip_dropout)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        return d + self.drop(self.match(s), len(d))


class RenormAdd(nn.Module):
    """ŝ = Norm(s), s̃ = α·ŝ, y = (d + s̃)/√(1 + α²); each of the three steps can be left out.

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


class Concat(nn.Module):
    """W·[d, g⊙s], W a 1×1 convolution; or [d, g⊙s] as it is.

    gate: a module (d, s, context) -> g, broadcastable to s; None: g = 1. W is held in two halves, because
    W·[d, s] = W_d·d + W_s·s needs no copy of both features, and none is kept for the backward pass.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        project: bool = True,
        gate: nn.Module | None = None,
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.project = project
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
        return self.decoder(d) + self.skip(s) if self.project else torch.cat([d, s], dim=1)


class Gated(nn.Module):
    """ŝ = Norm(s), g = gate(d, ŝ), y = (d + g⊙ŝ)/√(1 + g²).

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


def low_pass(x: Tensor, cutoff: float) -> Tensor:
    """The low frequencies of feature maps by FFT: x times 1/(1 + (r/cutoff)⁴) in the spectrum.

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
    """a_low·low(s) + a_high·high(s), each channel for itself; low(s) + high(s) = s.

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
    """The skip with its bands scaled, then merged: merge(d, bands(s), context)."""

    def __init__(self, bands: BandScale, merge: nn.Module) -> None:
        super().__init__()
        self.bands = bands
        self.merge = merge

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, C, H, W), (B, S, H, W) -> (B, C, H, W)."""
        return self.merge(d, self.bands(s, context), context)
