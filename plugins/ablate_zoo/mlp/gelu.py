"""mlp `gelu`: two linear layers with a GELU between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Mlp

if TYPE_CHECKING:
    from torch import nn


class Gelu(Mlp):
    """MLP with GELU: linear, GELU, linear (Hendrycks & Gimpel 2016), as in U-ViT."""

    name = "gelu"

    def build(self, width: int, hidden: int) -> nn.Module:
        """`MLP` of `ablate_zoo.layers.mlp`."""
        from ablate_zoo.layers.mlp import MLP

        return MLP(width, hidden, "none")
