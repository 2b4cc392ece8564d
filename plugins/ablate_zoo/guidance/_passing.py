"""A block that does nothing."""

from __future__ import annotations

from torch import Tensor, nn


class Passing(nn.Module):
    """Gives what it reads, its first argument, whatever else a block is told."""

    def forward(self, x: Tensor, *others: object) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return x
