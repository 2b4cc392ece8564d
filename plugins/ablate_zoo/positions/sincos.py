"""positions `sincos`: a fixed sinusoidal embedding is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Positions

if TYPE_CHECKING:
    from torch import nn


class SinCos(Positions):
    """Sinusoidal positional embedding, 2-D: sines and cosines of row and column (Dosovitskiy et al. 2021, D.4)."""

    name = "sincos"

    def build(self, rows: int, columns: int, width: int) -> nn.Module:
        """`SinCos2d` of `ablate_zoo.positions._modules`."""
        from ablate_zoo.positions._modules import SinCos2d

        return SinCos2d(rows, columns, width)
