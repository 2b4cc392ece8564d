"""residual: how the output of a branch is added to what passes by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn


class Residual(Component):
    """Builds the residual connection around each branch of a transformer's block: x + gate·β·branch, or another sum.

    The gate is the conditioning's, and stochastic depth acts on β·branch.
    """

    kind: ClassVar[str] = "residual"
    reads_beta: ClassVar[bool] = (
        False  # whether `scale` reads β of the network, which is part of its identity only then
    )

    def scale(self, width: int, beta: float) -> nn.Module | float:
        """Return β: a number, or a module `forward(h)` (B, N, width) -> the same shape. beta: `residual_beta`."""
        return 1.0

    def total(self, width: int) -> nn.Module | None:
        """Build a module `forward(x, h)`, both (B, N, width) -> the same shape; None: x + h. h: gate·β·branch."""
        return None
