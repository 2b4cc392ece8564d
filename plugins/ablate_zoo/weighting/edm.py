"""The weight that makes every level start with the same loss under EDM's preconditioning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Level, Weighting

if TYPE_CHECKING:
    from torch import Tensor


class EdmWeighting(Weighting):
    """w = 1/c_out² = SNR + 1/σ_data², with c_out that of precondition `edm` for x0.

    For α = 1 it is (σ² + σ_data²)/(σ·σ_data)² (Karras et al. 2022, table 1). Applied to x0, it gives
    the network's own output the weight 1 at every level, whatever the target.
    """

    name = "edm"

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """SNR + 1/σ_data²."""
        return level.snr + sigma_data**-2
