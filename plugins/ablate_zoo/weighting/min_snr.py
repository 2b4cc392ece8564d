"""weighting `min_snr`: min-SNR loss weighting (Hang et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Level, Range, Weighting

if TYPE_CHECKING:
    from torch import Tensor


class MinSnr(Weighting):
    """Min-SNR, w = min(SNR, τ) on the x0-error: min(1, τ/SNR) on an ε-error, min(SNR, τ)/(SNR + 1) on a v-error.

    Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", sec. 3.4 (there: γ).
    """

    name = "min_snr"
    default = True

    tau: Annotated[float, Field(gt=0, le=1e6), Range(1, 20, log=True)] = 5.0

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """min(SNR, τ)."""
        return level.snr.clamp(max=self.tau)
