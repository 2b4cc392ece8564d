"""schedule `edm`: the noise schedule of EDM, variance exploding: noise is added, nothing fades (Karras et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Schedule

if TYPE_CHECKING:
    from torch import Tensor


class Edm(Schedule):
    """EDM's noise schedule: x = x0 + σ·ε with σ^(1/ρ) linear in t (Karras et al. 2022, eq. 5).

    Its x grows with σ up to σ_max: a network wants precondition `edm` with it.
    """

    name = "edm"

    sigma_min: Annotated[float, Field(gt=0, le=1e6)] = 0.002
    sigma_max: Annotated[float, Field(gt=0, le=1e6)] = 80.0
    rho: Annotated[float, Field(ge=1, le=100)] = 7.0

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min ({self.sigma_min:g}) must lie below sigma_max ({self.sigma_max:g})")
        return self

    def alpha(self, t: Tensor) -> Tensor:
        """One."""
        return t.double() * 0 + 1

    def sigma(self, t: Tensor) -> Tensor:
        """From sigma_min to sigma_max."""
        low, high = self._roots()
        return (low + t.double().clamp(0, 1) * (high - low)) ** self.rho

    def time(self, log_snr: Tensor) -> Tensor:
        """Where σ = exp(−log SNR / 2)."""
        low, high = self._roots()
        return (((-log_snr.double() / (2 * self.rho)).exp() - low) / (high - low)).clamp(0, 1)

    def _roots(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
