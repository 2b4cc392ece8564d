"""mlp `gelu_tanh`: two linear layers with a GELU between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Mlp

if TYPE_CHECKING:
    from torch import nn


class GeluTanh(Mlp):
    """MLP with GELU in its approximation by tanh, as in DiT; up to 5e-4 from the exact one."""

    name = "gelu_tanh"

    def build(self, width: int, hidden: int) -> nn.Module:
        """`MLP` of `ablate_zoo.layers.mlp`."""
        from ablate_zoo.layers.mlp import MLP

        return MLP(width, hidden, "tanh")
