"""norm `rms`: RMS norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Norm

if TYPE_CHECKING:
    from torch import nn


class RMS(Norm):
    """RMS norm: x/√(mean x² + ε) over a token's numbers (Zhang & Sennrich 2019)."""

    name = "rms"

    def build(self, width: int, affine: bool) -> nn.Module:
        """`RMSNorm` of `ablate_zoo.layers.norms`."""
        from ablate_zoo.layers.norms import EPSILON, RMSNorm

        return RMSNorm(width, eps=EPSILON, elementwise_affine=affine)
