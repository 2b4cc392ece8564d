"""schedule `cosine`: the cosine noise schedule of improved DDPM (Nichol & Dhariwal 2021)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import DiscreteSchedule

if TYPE_CHECKING:
    from torch import Tensor


class Cosine(DiscreteSchedule):
    """Cosine noise schedule: β_i = min(1 − f(i/T)/f((i−1)/T), beta_max), f(t) = cos²((t + s)/(1 + s)·π/2).

    Nichol & Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models", eq. 17.
    """

    name = "cosine"

    s: Annotated[float, Field(ge=0, lt=1)] = 0.008  # keeps β from being too small near t = 0
    beta_max: Annotated[float, Field(gt=0, lt=1)] = 0.999  # keeps ᾱ above zero at t = 1

    def betas(self, steps: int) -> Tensor:
        """From the ratios of neighbouring values of f."""
        import torch

        t = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device="cpu")
        f = ((t + self.s) / (1 + self.s) * (math.pi / 2)).cos() ** 2
        return (1 - f[1:] / f[:-1]).clamp(max=self.beta_max)
