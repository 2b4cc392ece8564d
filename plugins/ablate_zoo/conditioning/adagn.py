"""conditionings `adagn` and `adagn_zero`: adaptive group norm (FiLM) in the U-Net's residual blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ablate.api import Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class AdaGN(Conditioning):
    """Adaptive group norm: scale and shift after a block's second norm (Dhariwal & Nichol 2021, section 3.1).

    The norm is of the kind that the block has, group norm in the paper, and keeps its own scale and shift.
    """

    name = "adagn"
    regresses: ClassVar[tuple[str, ...]] = ("scale", "shift")
    begins_at_zero: ClassVar[bool] = False

    def requires(self) -> Mapping[str, str]:
        """Blocks of feature maps."""
        return {"feature_maps": "it modulates the norm between two convolutions; 'adaln' does so for tokens"}

    def modulation(self, site: Site) -> nn.Module:
        """One linear layer a block."""
        from ablate_zoo.layers.norms import AdaptiveModulation

        return AdaptiveModulation(
            site.embedding, site.width, site.branches, self.regresses, begin_at_zero=self.begins_at_zero
        )


class AdaGNZero(AdaGN):
    """Adaptive group norm with a gate on each branch, all zero at the start, as adaLN-Zero (Peebles & Xie 2023)."""

    name = "adagn_zero"
    regresses: ClassVar[tuple[str, ...]] = ("scale", "shift", "gate")
    begins_at_zero: ClassVar[bool] = True

    def provides(self) -> frozenset[str]:
        """Blocks that add nothing before training."""
        return frozenset({"identity_at_start"})
