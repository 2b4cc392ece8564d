"""norm `none`: tokens are not normalised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Norm

if TYPE_CHECKING:
    from torch import nn


class NoNorm(Norm):
    """No norm: x as it is, or with a learned scale and shift for each number (Touvron et al. 2021, ResMLP, "Aff").

    A deep network trains so where its initial weights are made for it, as by `t_fixup` (Huang et al. 2020).
    """

    name = "none"

    def provides(self) -> frozenset[str]:
        """What it gives is as large as what it is given."""
        return frozenset({"unnormalised"})

    def build(self, width: int, affine: bool) -> nn.Module:
        """`nn.Identity`, or `Affine` of `ablate_zoo.layers.norms`."""
        from torch import nn

        from ablate_zoo.layers.norms import Affine

        return Affine(width) if affine else nn.Identity()
