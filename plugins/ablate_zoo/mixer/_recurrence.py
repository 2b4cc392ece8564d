"""Gated linear recurrence over a sequence of tokens, in both directions, by a parallel scan."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Layout
from ablate_zoo.layers.attention import zero


class Recurrence(nn.Module):
    """W(h→ + h←): h_t = (1 − z_t)·h_{t−1} + z_t·v_t, one gate z for each direction, in fp32."""

    def __init__(self, width: int, bias: bool = True, zero_init: bool = False) -> None:
        super().__init__()
        self.inward = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width)
        if zero_init:
            zero(self.out)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        forth, back, value = self.inward(x).float().chunk(3, dim=-1)
        forth, back = forth.sigmoid(), back.flip(1).sigmoid()
        ahead = scan(1 - forth, forth * value)
        behind = scan(1 - back, back * value.flip(1)).flip(1)
        return self.out((ahead + behind).to(x.dtype))


def scan(decay: Tensor, value: Tensor) -> Tensor:
    """Compute h_t = decay_t·h_{t−1} + value_t, h_0 = 0, all (B, N, D), in log₂ N steps (Hillis & Steele 1986)."""
    reach = 1  # h_t is right as far back as this
    while reach < value.shape[1]:
        value = torch.cat([value[:, :reach], value[:, reach:] + decay[:, reach:] * value[:, :-reach]], dim=1)
        decay = torch.cat([decay[:, :reach], decay[:, reach:] * decay[:, :-reach]], dim=1)
        reach *= 2
    return value
