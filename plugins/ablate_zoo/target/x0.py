"""target `x0`: x0-prediction, the network predicts the clean image (a denoiser)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Level, Target

if TYPE_CHECKING:
    from torch import Tensor


class Image(Target):
    """x0-prediction, y = x0: the denoiser itself (Ho et al. 2020, sec. 3.2; Karras et al. 2022, eq. 2)."""

    name = "x0"

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(1, 0)."""
        return level.alpha * 0 + 1, level.alpha * 0
