"""routing `drop`: in training, some tokens pass by the blocks in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range, Routing, Site
from ablate_zoo.routing._between import refuse_between

if TYPE_CHECKING:
    from torch import nn


class Drop(Routing):
    """TREAD: in training, patches drawn for each image pass by the blocks in the middle (Krause et al. 2025).

    They come back behind those blocks as they were before them. In sampling all tokens pass through all blocks. The
    paper leaves out the first 2 and the last 4 blocks of a DiT.
    """

    name = "drop"

    share: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.75)] = 0.5  # of the patches
    before: Annotated[int, Field(ge=0, le=1000)] = 2  # blocks at the start through which all pass
    after: Annotated[int, Field(ge=0, le=1000)] = 2  # blocks at the end through which all pass

    def provides(self) -> frozenset[str]:
        """Blocks that see other tokens than all."""
        return frozenset({"routed_tokens"})

    def refuse_at(self, site: Site) -> str | None:
        """There must be blocks in the middle."""
        return refuse_between(self.before, self.after, site)

    def build(self, site: Site) -> nn.Module:
        """See `ablate_zoo.routing._modules`."""
        from ablate_zoo.routing._modules import Drop as Module

        return Module(self.share, self.before, self.after)
