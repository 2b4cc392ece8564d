"""weighting `uniform`: uniform loss weighting, every noise level counts alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Level, Weighting

if TYPE_CHECKING:
    from torch import Tensor


class UniformWeighting(Weighting):
    """Uniform weight, w = 1.

    On the x0-error this is a large weight σ²/α² on an ε-error at high noise. DDPM's "simple" loss
    is `{type: uniform, apply: native}` with target `epsilon` (Ho et al. 2020, eq. 14).
    """

    name = "uniform"

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """One."""
        return level.alpha * 0 + 1
