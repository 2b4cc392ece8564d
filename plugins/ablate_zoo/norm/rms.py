"""norm `rms`: RMS norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Added, Norm

if TYPE_CHECKING:
    from torch import nn


class RMS(Norm):
    """RMS norm: x/√(mean x² + ε) over a token's numbers (Zhang & Sennrich 2019)."""

    name = "rms"

    eps: Annotated[float, Field(gt=0, le=0.1), Added(before=1e-6)] = 1e-6  # ε; 1e-6 as in DiT, 1e-5 in U-ViT

    def build(self, width: int, affine: bool) -> nn.Module:
        """`RMSNorm` of `ablate_zoo.layers.norms`."""
        from ablate_zoo.layers.norms import RMSNorm

        return RMSNorm(width, eps=self.eps, elementwise_affine=affine)
