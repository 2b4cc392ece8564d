"""conditioning `scale`: the embedding scales the feature maps of a U-Net's blocks, without a shift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from ablate.api import Choice, Conditioning, Site

if TYPE_CHECKING:
    from torch import nn


class Scale(Conditioning):
    """Scale-only modulation: h·(1 + W·a(e)) where `adagn` has a shift too, behind the norm if there is one.

    Karras et al. 2024, appendix B.3: biases and shifts are left out. With `gain` it is h·(1 + g·W·a(e)), g a learned
    number, 0 before training, for a W that weight normalisation keeps from being zero.
    """

    name = "scale"

    gain: bool = False  # a learned factor g of each block
    activation: Annotated[Literal["silu", "mp_silu"], Choice("silu", "mp_silu")] = "silu"  # a: of the embedding

    def requires(self) -> Mapping[str, str]:
        """Blocks of feature maps."""
        return {"feature_maps": "it modulates the norm between two convolutions; 'adaln' does so for tokens"}

    def modulation(self, site: Site) -> nn.Module:
        """`ScaleModulation` of `ablate_zoo.layers.norms`."""
        from ablate_zoo.layers.norms import ScaleModulation

        return ScaleModulation(site.embedding, site.width, site.branches, self.gain, self.activation)
