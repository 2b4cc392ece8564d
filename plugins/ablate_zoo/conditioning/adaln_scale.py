"""conditioning `adaln_scale`: adaptive norm of tokens by a scale alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.api import Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class AdaLNScale(Conditioning):
    """Scale of every norm of a block from timestep and class: h·(1 + W·e), W zero at the start, without shift or gate.

    With `norm: rms` it is AdaRMSNorm (Crowson et al. 2024, HDiT). No activation stands before W, and the norm before
    the last layer has a scale of its own.
    """

    name = "adaln_scale"

    def requires(self) -> Mapping[str, str]:
        """Blocks of tokens."""
        return {"tokens": "it modulates the norms of a transformer's blocks; 'scale' does so for feature maps"}

    def modulation(self, site: Site) -> nn.Module:
        """One linear layer a block."""
        from ablate_zoo.layers.norms import AdaptiveModulation

        return AdaptiveModulation(
            site.embedding, site.width, site.branches, ("scale",), begin_at_zero=site.zero_init, activate=False
        )
