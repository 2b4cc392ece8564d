"""What mixers that read the tokens as a sequence share: its order, and that there has to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ablate.api import Added, Choice, Mixer, MixerSite

if TYPE_CHECKING:
    from ablate_zoo.mixer._orders import Sequence


class StateSpace(Mixer):
    """A recurrence over the tokens as a sequence, row by row or along zigzag paths that take turns (Hu et al. 2024).

    Tokens without a place (registers, those of the condition) come first. Heads, query-key norms and rotations are not
    read: the order of the tokens is its position code. What is computed elementwise is not counted in `gflops`.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"bias"})

    order: Annotated[Literal["rows", "zigzag"], Added(before="rows"), Choice("rows", "zigzag")] = "rows"
    """zigzag: one of eight paths by the number of the block, along rows or columns, each second one backwards"""

    def excludes(self) -> Mapping[str, str]:
        """Tokens that are means of several patches."""
        why = "merged tokens are a set: the mean of patches here and there has no place in an order"
        return {"merged_tokens": f"{why}; say routing: none or drop, or take attention, which needs no order"}

    def sequence(self, site: MixerSite) -> Sequence:
        """Build what puts the tokens in order."""
        from ablate_zoo.mixer._orders import PATHS, Sequence, zigzag

        if self.order == "rows":
            return Sequence()
        assert site.resolution is not None, "a network says the grid of a mixer's tokens"
        return Sequence(zigzag(site.resolution, (site.block or 0) % PATHS))
