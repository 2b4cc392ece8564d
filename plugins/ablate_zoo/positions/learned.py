"""positions `learned`: a learned vector for each place is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Positions

if TYPE_CHECKING:
    from torch import nn


class Learned(Positions):
    """Learned positional embedding: a vector for each place of the grid (Dosovitskiy et al. 2021)."""

    name = "learned"

    def build(self, rows: int, columns: int, width: int) -> nn.Module:
        """`Learned` of `ablate_zoo.positions._modules`."""
        from ablate_zoo.positions._modules import Learned as Module

        return Module(rows, columns, width)
