"""Value residuals: the values of the first block's attention, mixed into those of later blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablate.api import Layout

FIRST_VALUES = "first_values"  # the name under which the first block leaves them


class LeaveValues(nn.Module):
    """Leaves the values of the first block for those of later ones; they stay as they are."""

    def forward(self, v: Tensor, layout: Layout) -> Tensor:
        """(B, heads, N, d) -> the same."""
        layout.leave(FIRST_VALUES, v.transpose(1, 2).flatten(2))
        return v


class ValueResidual(nn.Module):
    """Value residual: v ← v + λ·(v₁ − v), v₁ the same token's values in the first block (Zhou et al. 2024, ResFormer).

    weight: λ; learned, it is a parameter that starts there. A token that did not pass through the first block keeps its
    own values.
    """

    def __init__(self, weight: float, learned: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight)) if learned else weight

    def forward(self, v: Tensor, layout: Layout) -> Tensor:
        """(B, heads, N, d) -> (B, heads, N, d)."""
        found = layout.carried.get(FIRST_VALUES)
        if found is None:
            return v
        first = found.values.unflatten(2, (v.shape[1], v.shape[3])).transpose(1, 2)
        mixed = v + self.weight * (first - v)
        return mixed if found.known is None else torch.where(found.known[:, None], mixed, v)
