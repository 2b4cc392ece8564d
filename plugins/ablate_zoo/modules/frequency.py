"""Fusion by frequency: low and high pass of the skip, each scaled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Context


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
