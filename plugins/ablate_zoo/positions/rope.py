"""positions `rope`: queries and keys are turned by an angle for each place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Positions

if TYPE_CHECKING:
    from torch import nn


class Rope(Positions):
    """Rotary positional embedding, RoPE, in 2-D: half of a head turns by row, half by column (Su et al. 2021)."""

    name = "rope"
    rotates_only = True

    def refuse_heads(self, head_width: int) -> str | None:
        """Two numbers a turn, by row and by column."""
        if head_width % 4 == 0:
            return None
        return "turn pairs of numbers, by row and by column: a head's width has to be a multiple of 4"

    def rotation(self, rows: int, columns: int, head_width: int) -> nn.Module:
        """`Rope2d` of `ablate_zoo.positions._modules`."""
        from ablate_zoo.positions._modules import Rope2d

        return Rope2d(rows, columns, head_width)
