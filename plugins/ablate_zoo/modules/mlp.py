"""The feed-forward half of a transformer block."""

from __future__ import annotations

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear, GELU (tanh form, Hendrycks & Gimpel 2016), linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate="tanh")
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return self.down(self.act(self.up(x)))
