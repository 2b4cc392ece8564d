"""mlp `swiglu`: gated linear unit with SiLU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Mlp

if TYPE_CHECKING:
    from torch import nn


class SwiGLU(Mlp):
    """SwiGLU: (SiLU(xW) ⊙ xV)·W₂ (Shazeer 2020, eq. 6), with 2/3 of the hidden width: equally many parameters."""

    name = "swiglu"

    def build(self, width: int, hidden: int) -> nn.Module:
        """`SwiGLU` of `ablate_zoo.layers.mlp`."""
        from ablate_zoo.layers.mlp import SwiGLU as Module

        return Module(width, hidden)
