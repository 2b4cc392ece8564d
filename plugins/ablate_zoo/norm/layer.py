"""norm `layer`: layer norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Norm

if TYPE_CHECKING:
    from torch import nn


class Layer(Norm):
    """Layer norm: (x − mean)/√(variance + ε) over a token's numbers (Ba et al. 2016)."""

    name = "layer"

    def build(self, width: int, affine: bool) -> nn.Module:
        """`nn.LayerNorm` with DiT's ε."""
        from torch import nn

        from ablate_zoo.layers.norms import EPSILON

        return nn.LayerNorm(width, eps=EPSILON, elementwise_affine=affine)
