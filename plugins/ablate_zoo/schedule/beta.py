"""schedules `linear`, `scaled_linear`, `exponential`, `sigmoid`: discrete noise schedules by their β."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import DiscreteSchedule

if TYPE_CHECKING:
    from torch import Tensor

Beta = Annotated[float, Field(gt=0, lt=1)]


class BetaRange(DiscreteSchedule):
    """β rises from `beta_start` to `beta_end` over `steps` steps; neither is scaled with `steps`."""

    beta_start: Beta = 1e-4
    beta_end: Beta = 0.02

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.beta_start >= self.beta_end:
            raise ValueError(f"beta_start ({self.beta_start:g}) must lie below beta_end ({self.beta_end:g})")
        return self


class Linear(BetaRange):
    """Linear noise schedule: β rises linearly (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", sec. 4)."""

    name = "linear"
    default = True

    def betas(self, steps: int) -> Tensor:
        """Evenly spaced."""
        import torch

        return torch.linspace(self.beta_start, self.beta_end, steps, dtype=torch.float64, device="cpu")


class ScaledLinear(BetaRange):
    """√β rises linearly (Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models")."""

    name = "scaled_linear"

    beta_start: Beta = 0.00085
    beta_end: Beta = 0.012

    def betas(self, steps: int) -> Tensor:
        """Squares of evenly spaced roots."""
        import torch

        return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, steps, dtype=torch.float64, device="cpu") ** 2


class Exponential(BetaRange):
    """β rises by the same factor at each step."""

    name = "exponential"

    def betas(self, steps: int) -> Tensor:
        """A geometric sequence."""
        import torch

        ends = math.log(self.beta_start), math.log(self.beta_end)
        return torch.linspace(*ends, steps, dtype=torch.float64, device="cpu").exp()


class Sigmoid(BetaRange):
    """β rises along a logistic curve over [−6, 6] (Xu et al. 2022, "GeoDiff"); its ends lie 0.25 % inside."""

    name = "sigmoid"

    def betas(self, steps: int) -> Tensor:
        """beta_start + (beta_end − beta_start)·sigmoid(−6 … 6)."""
        import torch

        rise = torch.linspace(-6, 6, steps, dtype=torch.float64, device="cpu").sigmoid()
        return self.beta_start + (self.beta_end - self.beta_start) * rise
