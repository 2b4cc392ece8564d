"""mlp `geglu`: gated linear unit with GELU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Mlp

if TYPE_CHECKING:
    from torch import nn


class GEGLU(Mlp):
    """GEGLU: (GELU(xW) ⊙ xV)·W₂ (Shazeer 2020, eq. 6), with 2/3 of the hidden width: equally many parameters."""

    name = "geglu"

    def build(self, width: int, hidden: int) -> nn.Module:
        """`GatedMLP` of `ablate_zoo.layers.mlp`."""
        from torch.nn import functional as F

        from ablate_zoo.layers.mlp import GatedMLP

        return GatedMLP(width, hidden, F.gelu)
