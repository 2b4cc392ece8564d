"""weightings `edm`, `edm2`: loss weighting that gives every noise level the same loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Level, Weighting

if TYPE_CHECKING:
    from torch import Tensor, nn


class EdmWeighting(Weighting):
    """w = 1/c_out² = SNR + 1/σ_data², with c_out that of precondition `edm` for x0.

    For α = 1 it is (σ² + σ_data²)/(σ·σ_data)² (Karras et al. 2022, table 1). Applied to x0, it gives
    the network's own output the weight 1 at every level, whatever the target.
    """

    name = "edm"

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """SNR + 1/σ_data²."""
        return level.snr + sigma_data**-2


class Edm2Weighting(Weighting):
    """w·e^(−u), with w that of `edm` and u a learned function of the level; u is added to the loss.

    Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", eq. 14
    and 15 (and EDM2's code). Where training has settled, e^u is the mean of w times the error, so
    that every level contributes alike, and w has cancelled out. Before training u = 0 and it is
    `edm`. u is trained by the candidate's optimizer; the weight that is recorded is that at the end.
    """

    name = "edm2"

    features: Annotated[int, Field(ge=1, le=4096)] = 128  # random Fourier features of ln(σ/α)/4

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """SNR + 1/σ_data², the part that is not learned."""
        return level.snr + sigma_data**-2

    def build(self) -> nn.Module:
        """u, zero at first."""
        from ablate_zoo.layers.fourier import LogVariance

        return LogVariance(self.features)
