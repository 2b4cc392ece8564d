"""positions: how a transformer knows where a patch is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn


class Positions(Component):
    """Builds the positional embedding of a grid of patches: added to the tokens, by a rotation of queries and keys.

    Either way is optional; with neither, a network of softmax attention does not know where a patch is.
    """

    kind: ClassVar[str] = "positions"
    rotates_only: ClassVar[bool] = False  # whether all of it is in the rotation, which not every mixer reads

    def build(self, rows: int, columns: int, width: int) -> nn.Module | None:
        """Build a module `forward(tokens)`, (B, rows·columns, width) -> the same shape, with positions in it."""
        return None

    def rotation(self, rows: int, columns: int, head_width: int) -> nn.Module | None:
        """Build a module `forward()` -> (cos, sin), each (rows·columns, head_width/2).

        The i-th angle of a patch turns the pair of numbers i and i + head_width/2 of its queries and keys.
        """
        return None

    def refuse_heads(self, head_width: int) -> str | None:
        """Return why it cannot work with heads that wide, such as "turns pairs of numbers"; None if it can."""
        return None
