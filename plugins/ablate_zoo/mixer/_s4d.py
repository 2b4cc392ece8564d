"""S4D as a convolution over the tokens, in both directions (Gu et al. 2022)."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.api import Layout
from ablate_zoo.layers.attention import zero
from ablate_zoo.mixer._orders import Sequence

SHORTEST, LONGEST = 1e-3, 1e-1  # steps Δ at the start, spread evenly in the logarithm


class Convolution(nn.Module):
    """Out(GELU(y)), y = k→ ∗ x + k← ∗ x + d·x, channel by channel; Out a gated linear unit.

    k_l = 2·Re Σ_n c_n·(exp(Δa_n) − 1)/a_n·exp(lΔa_n), zero-order hold, a_n = −½ + iπn at the start; a and Δ are
    those of both directions. state: numbers a channel, half as many complex ones with their conjugates.
    """

    def __init__(self, width: int, state: int, zero_init: bool = False, sequence: Sequence | None = None) -> None:
        super().__init__()
        half = state // 2
        self.log_step = nn.Parameter(torch.rand(width) * math.log(LONGEST / SHORTEST) + math.log(SHORTEST))
        self.log_decay = nn.Parameter(torch.full((width, half), math.log(0.5)))  # −Re a
        self.frequency = nn.Parameter(math.pi * torch.arange(half).float().expand(width, half).clone())  # Im a
        self.readout = nn.Parameter(torch.randn(2, width, half, 2) * math.sqrt(0.5))  # c: a direction; Re and Im
        self.direct = nn.Parameter(torch.randn(width))
        self.out = nn.Linear(width, 2 * width)
        self.sequence = Sequence() if sequence is None else sequence
        if zero_init:
            zero(self.out)

    def kernels(self, length: int) -> Tensor:
        """Compute both kernels, (2, D, length) fp32: towards later tokens, and towards earlier ones."""
        a = torch.complex(-self.log_decay.exp(), self.frequency)  # (D, S/2)
        step = a * self.log_step.exp()[:, None]
        c = torch.view_as_complex(self.readout) * (step.exp() - 1) / a
        powers = (step[..., None] * torch.arange(length, device=a.device)).exp()  # (D, S/2, length)
        return 2 * torch.einsum("kds,dsl->kdl", c, powers).real

    def mixed(self, x: Tensor) -> Tensor:
        """Compute y of (B, N, D) fp32, the same shape."""
        length = x.shape[1]
        ahead, behind = self.kernels(length)
        # Circular over 2N places: lags 0 … N − 1, then −N (never reached) … −1.
        kernel = torch.cat([ahead, torch.zeros_like(ahead[:, :1]), behind[:, 1:].flip(1)], dim=1)
        lag = F.pad(behind[:, :1], (0, 2 * length - 1))  # both directions have lag 0
        spectrum = torch.fft.rfft(kernel + lag)
        signal = torch.fft.rfft(x.transpose(1, 2), n=2 * length)
        y = torch.fft.irfft(signal * spectrum, n=2 * length)[..., :length]
        return y.transpose(1, 2) + x * self.direct

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x, places = self.sequence(x, layout)
        with in_full_precision(x):
            y = F.gelu(self.mixed(x.float()))
        value, gate = self.out(y.to(x.dtype)).chunk(2, dim=-1)
        return self.sequence.back(value * gate.sigmoid(), places)


def in_full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off: states are kept over hundreds of steps. The meta device has none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
