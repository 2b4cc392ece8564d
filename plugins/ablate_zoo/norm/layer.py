"""norm `layer`: layer norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Added, Norm

if TYPE_CHECKING:
    from torch import nn


class Layer(Norm):
    """Layer norm: (x − mean)/√(variance + ε) over a token's numbers (Ba et al. 2016)."""

    name = "layer"

    eps: Annotated[float, Field(gt=0, le=0.1), Added(before=1e-6)] = 1e-6  # ε; 1e-6 as in DiT, 1e-5 in U-ViT

    def build(self, width: int, affine: bool) -> nn.Module:
        """`nn.LayerNorm`."""
        from torch import nn

        return nn.LayerNorm(width, eps=self.eps, elementwise_affine=affine)
