"""routing `merge`: patches that are alike pass through a block as one."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Range, Routing, Site
from ablate_zoo.routing._between import refuse_between

if TYPE_CHECKING:
    from torch import nn


class Merge(Routing):
    """Token merging: a block sees the mean of patches that are alike, and all of them get what it adds to that.

    Before each block, the patches are divided into one of each square and the rest; those of the rest that are most
    alike to one of the first, by the cosine of their features, join it (Bolya & Hoffman 2023, section 4.2). Here the
    one is the square's first and not a random one, so that sampling can be repeated, and blocks are merged as a whole.
    """

    name = "merge"

    share: Annotated[float, Field(gt=0, lt=1), Range(0.25, 0.6)] = 0.5  # of the patches that join another
    square: Annotated[int, Field(ge=2, le=64)] = 2  # patches along the side of a square
    before: Annotated[int, Field(ge=0, le=1000)] = 0  # blocks at the start through which all pass
    after: Annotated[int, Field(ge=0, le=1000)] = 0  # blocks at the end through which all pass
    training: bool = True  # also in training; False: in sampling alone, as the paper does it

    def provides(self) -> frozenset[str]:
        """Blocks that see other tokens than all, some of them means of several."""
        return frozenset({"routed_tokens", "merged_tokens"})

    def refuse_at(self, site: Site) -> str | None:
        """There must be blocks in the middle, and so many patches that can join another."""
        if (reason := refuse_between(self.before, self.after, site)) is not None or site.resolution is None:
            return reason
        rows, columns = site.resolution
        most = 1 - ceil(rows / self.square) * ceil(columns / self.square) / (rows * columns)
        if round(self.share * rows * columns) <= round(most * rows * columns):
            return None
        square = f"{self.square}×{self.square}"
        return f"keeps one patch of each {square} of {rows}×{columns}: at most a share of {most:.3g} can join another"

    def build(self, site: Site) -> nn.Module:
        """See `ablate_zoo.routing._modules`."""
        from ablate_zoo.routing._modules import Merge as Module

        assert site.resolution is not None, "a network says the grid of its patches"
        return Module(self.share, self.square, site.resolution, self.before, self.after, self.training)
