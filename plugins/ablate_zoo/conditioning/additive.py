"""conditioning `additive`: the timestep and class embedding is added to every branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class Additive(Conditioning):
    """The embedding is added: h + W·SiLU(e) before the norm of each branch (Ho et al. 2020, appendix B).

    In a block of tokens, before each of its norms; in one of feature maps, between the convolutions.
    """

    name = "additive"

    def modulation(self, site: Site) -> nn.Module:
        """One linear layer a block."""
        from ablate_zoo.layers.norms import AdaptiveModulation

        return AdaptiveModulation(site.embedding, site.width, site.branches, ("bias",), begin_at_zero=False)
