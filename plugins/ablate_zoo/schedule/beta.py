"""Discrete schedules whose β runs from a first to a last value: linear."""

from __future__ import annotations

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
    """β rises linearly (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", sec. 4)."""

    name = "linear"
    default = True

    def betas(self, steps: int) -> Tensor:
        """Evenly spaced."""
        import torch

        return torch.linspace(self.beta_start, self.beta_end, steps, dtype=torch.float64, device="cpu")
