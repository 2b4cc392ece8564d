"""Adaptive normalisation: a condition decides shift, scale and gate of each residual branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ablate.api import Context, Modulation
from ablate_zoo.modules.attention import zero

if TYPE_CHECKING:
    from collections.abc import Sequence


def modulate(h: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
    """h·(1 + scale) + shift over tokens: (B, N, D) with (B, D)."""
    if scale is not None and shift is not None:
        return shift.unsqueeze(1).addcmul(h, 1 + scale.unsqueeze(1))
    if scale is not None:
        return h * (1 + scale.unsqueeze(1))
    return h if shift is None else h + shift.unsqueeze(1)


def gated_sum(x: Tensor, gate: Tensor | None, h: Tensor) -> Tensor:
    """The sum x + gate·h over tokens, (B, N, D) with (B, D); without a gate x + h."""
    return x + h if gate is None else torch.addcmul(x, gate.unsqueeze(1), h)


class AdaptiveModulation(nn.Module):
    """SiLU, then one linear layer that regresses the named parts of every branch (DiT, figure 3)."""

    def __init__(
        self, embedding: int, width: int, branches: int, parts: Sequence[str], begin_at_zero: bool = True
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.branches = branches
        self.linear = nn.Linear(embedding, len(self.parts) * branches * width)
        if begin_at_zero:
            zero(self.linear)

    def forward(self, context: Context) -> tuple[Modulation, ...]:
        """One Modulation a branch, each part (B, width)."""
        regressed = self.linear(nn.functional.silu(context.embedding))
        chunks = iter(regressed.chunk(len(self.parts) * self.branches, dim=-1))
        return tuple(Modulation(**{part: next(chunks) for part in self.parts}) for _ in range(self.branches))
