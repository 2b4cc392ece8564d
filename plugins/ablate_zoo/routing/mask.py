"""routing `mask`: in training, some patches are seen by the last blocks alone, as learned tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range, Routing, Site
from ablate_zoo.routing._between import refuse_between

if TYPE_CHECKING:
    from torch import nn


class Mask(Routing):
    """Masked training: the first blocks see a part of the patches, the last ones all (Zheng et al. 2023, MaskDiT).

    In place of a patch that was masked, the last blocks get a learned vector of its place. In sampling nothing is
    masked. The paper's loss is objective `masked`; with `denoise` masked patches learn the target as the others do. The
    paper ends the training without a mask, and this one does not: a routing is not told how far the training is, and
    what a step costs, from which the length of a training in Gflops follows, would change on the way.
    """

    name = "mask"

    share: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.75)] = 0.5  # of the patches that are masked
    after: Annotated[int, Field(ge=1, le=1000)] = 2  # blocks at the end that see all patches: the decoder

    def provides(self) -> frozenset[str]:
        """Blocks that see other tokens than all, and patches that the network does not see."""
        return frozenset({"routed_tokens", "masked_patches"})

    def refuse_at(self, site: Site) -> str | None:
        """There must be blocks before the last ones."""
        return refuse_between(0, self.after, site)

    def build(self, site: Site) -> nn.Module:
        """See `ablate_zoo.routing._modules`."""
        from ablate_zoo.routing._modules import Mask as Module

        assert site.resolution is not None, "a network says the grid of its patches"
        return Module(self.share, self.after, site.resolution[0] * site.resolution[1], site.width)
