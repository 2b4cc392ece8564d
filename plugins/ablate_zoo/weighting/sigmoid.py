"""weighting `sigmoid`: sigmoid loss weighting, less where the image is nearly clean (Kingma & Gao 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Level, Range, Weighting

if TYPE_CHECKING:
    from torch import Tensor


class SigmoidWeighting(Weighting):
    """w = e^b·sigmoid(log SNR − b) on the x0-error, which is sigmoid(b − log SNR) on an ε-error; b is `bias`.

    Kingma & Gao 2023, "Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation", sec. 5;
    Hoogeboom et al. 2024, "Simpler Diffusion (SiD2)", sec. 3.1, with a bias of −3 for large images. Below log SNR = b
    the ε-error counts evenly, above it less and less. There it is the weight of a unit of log SNR, whatever the
    schedule: draw levels evenly in log SNR (levels `log_uniform`) for the same. At levels drawn otherwise, their
    density comes on top.
    """

    name = "sigmoid"

    bias: Annotated[float, Field(ge=-20, le=20), Range(-4.0, 4.0)] = 0.0

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """SNR·sigmoid(b − log SNR)."""
        return level.snr * (self.bias - level.log_snr).sigmoid()
