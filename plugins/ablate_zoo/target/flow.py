"""target `flow`: flow matching, the network predicts the velocity ε − x0 of the straight path (Liu et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Level, Target

if TYPE_CHECKING:
    from torch import Tensor


class Flow(Target):
    """Flow matching, y = ε − x0: under `rectified_flow` the velocity dx/dt (Liu et al. 2022, eq. 1)."""

    name = "flow"

    def provides(self) -> frozenset[str]:
        """The velocity of straight paths."""
        return frozenset({"straight_velocity"})

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(−1, 1)."""
        one = level.alpha * 0 + 1
        return -one, one
