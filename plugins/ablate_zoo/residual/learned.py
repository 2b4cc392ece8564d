"""residual `learned`: the branch is multiplied by a learned factor for each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Residual

if TYPE_CHECKING:
    from torch import nn


class Learned(Residual):
    """Layer scale: x + gate·β·branch, β learned for each channel from `residual_beta` on (Touvron et al. 2021)."""

    name = "learned"
    reads_beta = True

    def scale(self, width: int, beta: float) -> nn.Module:
        """`LayerScale` of `ablate_zoo.residual._modules`."""
        from ablate_zoo.residual._modules import LayerScale

        return LayerScale(width, beta)
