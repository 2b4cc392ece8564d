"""target `score`: score matching, the network predicts the gradient of the log density (Song et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.api import Level, Target

if TYPE_CHECKING:
    from torch import Tensor


class Score(Target):
    """The score of q(x | x0), y = −ε/σ (Song et al. 2021, "Score-Based Generative Modeling through SDEs", eq. 7).

    It grows like 1/σ: at the clean end the network has to give large numbers, unless precondition
    `edm` scales them.
    """

    name = "score"

    def excludes(self) -> Mapping[str, str]:
        """Zero terminal SNR: at t = 1 the score is −x, and says nothing of the image."""
        return {
            "zero_terminal_snr": "at the last step x is nothing but the noise, so that predicting its score "
            "cannot tell what the image is; use target 'v', which is the image there"
        }

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, −1/σ)."""
        return level.sigma * 0, -1 / level.sigma
