"""Gates: how much of a skip passes, by noise level, by channel, by place, by content.

Each is a module (d, s, context) -> g in [0, 1], in fp32, broadcastable to s.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Context
from ablate_zoo.layers.skip_attention import SkipAttention

OPEN = 2.0  # where the logits of gates begin that see features: g = 0.88, the same everywhere


class TimeGate(nn.Module):
    """Gate by noise level (timestep): g = sigmoid(b − softplus(w)·asinh(c_noise)).

    It never rises with the noise, whatever b and w are. asinh brings both usual scales of the label to order one:
    0 … 999 to 0 … 7.6, and ln(σ/α)/4, about −1.5 … 1.1, to −1.2 … 1. At the start b = 3, softplus(w) = 1/2: g falls
    from 0.95 to 0.31 on the first scale, from 0.97 to 0.93 on the second.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((channels,), 3.0))
        self.slope = nn.Parameter(torch.full((channels,), math.log(math.expm1(0.5))))

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, channels, 1, 1); channels may be 1."""
        level = torch.asinh(context.noise.float())[:, None]  # (B, 1)
        return torch.sigmoid(self.bias - F.softplus(self.slope) * level)[..., None, None]


class ChannelGate(nn.Module):
    """Gate by channel: squeeze and excitation (Hu et al. 2018, eq. 3) of both features, from the means of [d, s]."""

    def __init__(self, channels: int, skip_channels: int, reduction: int) -> None:
        super().__init__()
        both = channels + skip_channels
        hidden = max(both // reduction, 4)
        self.squeeze = nn.Linear(both, hidden)
        self.excite = nn.Linear(hidden, skip_channels)
        nn.init.zeros_(self.excite.weight)
        nn.init.constant_(self.excite.bias, OPEN)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, skip_channels, 1, 1)."""
        means = torch.cat([x.mean((2, 3), dtype=torch.float32) for x in (d, s)], dim=1)  # (B, C + S)
        return self.excite(F.silu(self.squeeze(means))).float().sigmoid()[..., None, None]


class SpatialGate(nn.Module):
    """Gate by pixel: one mask from a 3×3 convolution of [d, s], kept in two halves so that nothing is copied."""

    def __init__(self, channels: int, skip_channels: int) -> None:
        super().__init__()
        self.decoder = nn.Conv2d(channels, 1, 3, padding=1)
        self.skip = nn.Conv2d(skip_channels, 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.skip.weight)
        assert self.decoder.bias is not None
        nn.init.constant_(self.decoder.bias, OPEN)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, 1, H, W)."""
        return (self.decoder(d) + self.skip(s)).float().sigmoid()


class AttentionGate(nn.Module):
    """Gate by cross-attention: one mask over the pixels, from what each pixel of d attends to in s."""

    def __init__(self, attention: SkipAttention) -> None:
        super().__init__()
        self.attention = attention
        nn.init.constant_(attention.out.bias, OPEN)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """(B, 1, H, W)."""
        return self.attention(d, s).float().sigmoid()


class ProductGate(nn.Module):
    """Product of gates: open where all are."""

    def __init__(self, *gates: nn.Module) -> None:
        super().__init__()
        self.gates = nn.ModuleList(gates)

    def forward(self, d: Tensor, s: Tensor, context: Context) -> Tensor:
        """Broadcastable to s."""
        return math.prod((gate(d, s, context) for gate in self.gates[1:]), start=self.gates[0](d, s, context))
