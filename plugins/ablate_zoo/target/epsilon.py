"""target `epsilon`: ε-prediction, the network predicts the noise (Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.api import Level, Target

if TYPE_CHECKING:
    from torch import Tensor


class Epsilon(Target):
    """Noise prediction, y = ε (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", eq. 14)."""

    name = "epsilon"
    default = True

    def excludes(self) -> Mapping[str, str]:
        """Zero terminal SNR: at t = 1 the noise is all of x, and says nothing of the image."""
        return {
            "zero_terminal_snr": "at the last step x is nothing but the noise, so that predicting the noise "
            "cannot tell what the image is; use target 'v', which is the image there"
        }

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, 1)."""
        return level.alpha * 0, level.alpha * 0 + 1
