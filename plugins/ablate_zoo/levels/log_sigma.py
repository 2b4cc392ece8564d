"""levels `log_uniform`, `log_normal`: noise level sampling by the logarithm of σ/α (Karras et al. 2022)."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Levels, Schedule

if TYPE_CHECKING:
    from torch import Tensor

EDGE = 1e-9  # the density is asked for no nearer to the ends, where log(σ/α) may be infinite


class OverLogSigma(Levels):
    """s = ln(σ/α) follows a distribution, cut to what the schedule has; t is where the schedule has that s."""

    @abstractmethod
    def quantile(self, uniform: Tensor, low: float, high: float) -> Tensor:
        """The inverse of the distribution of s within [low, high], which may be infinite."""

    @abstractmethod
    def log_sigma_density(self, s: Tensor, low: float, high: float) -> Tensor:
        """The density of s within [low, high], zero outside."""

    def draw(self, uniform: Tensor, schedule: Schedule) -> Tensor:
        """Through s."""
        return schedule.time(-2 * self.quantile(uniform.double(), *_range(schedule)))

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """q(t) = p(s)·|ds/dt| with s = −log SNR/2."""
        inside = t.double().clamp(EDGE, 1 - EDGE)
        s = -schedule.log_snr(inside) / 2
        return self.log_sigma_density(s, *_range(schedule)) * schedule.slope(inside).abs() / 2


class LogUniform(OverLogSigma):
    """s uniform between ln sigma_min and ln sigma_max, as far as the schedule reaches."""

    name = "log_uniform"

    sigma_min: Annotated[float, Field(gt=0, le=1e6)] = 0.002
    sigma_max: Annotated[float, Field(gt=0, le=1e6)] = 80.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min ({self.sigma_min:g}) must lie below sigma_max ({self.sigma_max:g})")
        return self

    def quantile(self, uniform: Tensor, low: float, high: float) -> Tensor:
        """Evenly."""
        low, high = self._within(low, high)
        return low + uniform * (high - low)

    def log_sigma_density(self, s: Tensor, low: float, high: float) -> Tensor:
        """Constant between the bounds."""
        low, high = self._within(low, high)
        return ((s >= low) & (s <= high)).double() / (high - low)

    def _within(self, low: float, high: float) -> tuple[float, float]:
        low, high = max(low, math.log(self.sigma_min)), min(high, math.log(self.sigma_max))
        if low >= high:
            raise ValueError("the schedule has no level between sigma_min and sigma_max")
        return low, high


class LogNormal(OverLogSigma):
    """s normal with mean p_mean and deviation p_std, cut to the schedule's range and normalised anew.

    Karras et al. 2022, "Elucidating the Design Space", table 1.
    """

    name = "log_normal"

    p_mean: Annotated[float, Field(ge=-10, le=10)] = -1.2
    p_std: Annotated[float, Field(gt=0, le=10)] = 1.2

    def quantile(self, uniform: Tensor, low: float, high: float) -> Tensor:
        """The normal quantile between the shares that lie below the two bounds."""
        import torch

        below, upto = self._shares(low, high)
        return self.p_mean + self.p_std * torch.special.ndtri(below + uniform * (upto - below))

    def log_sigma_density(self, s: Tensor, low: float, high: float) -> Tensor:
        """The normal density over the share that is kept."""
        below, upto = self._shares(low, high)
        z = (s - self.p_mean) / self.p_std
        return (-z.square() / 2).exp() / (math.sqrt(2 * math.pi) * self.p_std * (upto - below))

    def _shares(self, low: float, high: float) -> tuple[float, float]:
        normal = NormalDist(self.p_mean, self.p_std)
        below = 0.0 if math.isinf(low) else normal.cdf(low)
        upto = 1.0 if math.isinf(high) else normal.cdf(high)
        if upto - below < 1e-9:
            raise ValueError(f"the schedule has no level near ln(σ/α) = {self.p_mean:g}")
        return below, upto


@lru_cache(maxsize=64)
def _range(schedule: Schedule) -> tuple[float, float]:
    """Return the schedule's least and greatest ln(σ/α)."""
    import torch

    ends = -schedule.log_snr(torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")) / 2
    return float(ends[0]), float(ends[1])
