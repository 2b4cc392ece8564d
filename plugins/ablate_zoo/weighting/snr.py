"""weightings `snr`, `log_snr`, `max_snr`, `clipped_snr`, `p2`: loss weighting by the signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Level, Range, Weighting

if TYPE_CHECKING:
    from torch import Tensor


class Snr(Weighting):
    """w = SNR^γ on the x0-error; γ = 1 is an even weight on the ε-error (Salimans & Ho 2022, sec. 4)."""

    name = "snr"

    gamma: Annotated[float, Field(ge=0, le=2), Range(0.25, 1.5)] = 1.0

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """The power."""
        return level.snr**self.gamma


class LogSnr(Weighting):
    """w = max(log SNR, floor): no weight is negative, and below SNR = exp(floor) all count `floor`."""

    name = "log_snr"

    floor: Annotated[float, Field(gt=0, le=100)] = 0.1

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """The natural logarithm, floored."""
        return level.log_snr.clamp(min=self.floor)


class MaxSnr(Weighting):
    """w = max(SNR, τ), "truncated SNR": also pure noise counts (Salimans & Ho 2022, sec. 4, τ = 1)."""

    name = "max_snr"

    tau: Annotated[float, Field(gt=0, le=1e6), Range(0.1, 10, log=True)] = 1.0

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """Bounded from below."""
        return level.snr.clamp(min=self.tau)


class ClippedSnr(Weighting):
    """w = SNR, but at least `low` and at most `high`."""

    name = "clipped_snr"

    low: Annotated[float, Field(gt=0, le=1e6)] = 0.1
    high: Annotated[float, Field(gt=0, le=1e6)] = 5.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must lie below high ({self.high:g})")
        return self

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """Bounded from both sides."""
        return level.snr.clamp(self.low, self.high)


class P2(Weighting):
    """w = SNR/(κ + SNR)^γ, which is 1/(κ + SNR)^γ on the ε-error.

    Choi et al. 2022, "Perception Prioritized Training of Diffusion Models", eq. 8 (there: k).
    """

    name = "p2"

    kappa: Annotated[float, Field(gt=0, le=1e3)] = 1.0
    gamma: Annotated[float, Field(ge=0, le=2), Range(0.25, 1.5)] = 0.5

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """Less where the ratio is high."""
        return level.snr / (self.kappa + level.snr) ** self.gamma
