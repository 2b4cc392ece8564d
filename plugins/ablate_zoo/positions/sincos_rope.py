"""positions `sincos_rope`: a fixed sinusoidal embedding is added, and queries and keys are turned too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Positions

if TYPE_CHECKING:
    from torch import nn


class SinCosRope(Positions):
    """Sinusoidal embedding and RoPE together, both in 2-D (Yao et al. 2025, LightningDiT, which kept DiT's own)."""

    name = "sincos_rope"

    def refuse_heads(self, head_width: int) -> str | None:
        """Two numbers a turn, by row and by column."""
        if head_width % 4 == 0:
            return None
        return "turn pairs of numbers, by row and by column: a head's width has to be a multiple of 4"

    def build(self, rows: int, columns: int, width: int) -> nn.Module:
        """`SinCos2d` of `ablate_zoo.positions._modules`."""
        from ablate_zoo.positions._modules import SinCos2d

        return SinCos2d(rows, columns, width)

    def rotation(self, rows: int, columns: int, head_width: int) -> nn.Module:
        """`Rope2d` of `ablate_zoo.positions._modules`."""
        from ablate_zoo.positions._modules import Rope2d

        return Rope2d(rows, columns, head_width)
