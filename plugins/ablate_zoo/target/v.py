"""target `v`: v-prediction, the network predicts the velocity α·ε − σ·x0 (Salimans & Ho 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Level, Target

if TYPE_CHECKING:
    from torch import Tensor


class Velocity(Target):
    """v-prediction, y = α·ε − σ·x0 (Salimans & Ho 2022, "Progressive Distillation", sec. 4).

    It is well defined at every level: −x0 where x is all noise, ε where x is all signal.
    """

    name = "v"

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(−σ, α)."""
        return -level.sigma, level.alpha
