"""schedule `shifted`: another schedule with more noise for more pixels (Hoogeboom et al. 2023; Esser et al. 2024)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from ablate.api import InputSpec, Schedule, slot

if TYPE_CHECKING:
    from torch import Tensor


class Shifted(Schedule):
    """A schedule whose σ/α is `factor` times that of another, by default the side of the data over that of `base`.

    Neighbouring pixels of a large image say the same, so that it survives more noise than a small one.
    `by: log_snr` moves log SNR by 2·ln(base/side) at every time (Hoogeboom et al. 2023, "simple diffusion", eq. 4); the
    result keeps the variance, α² + σ² = 1, whatever the other schedule does. `by: time` takes the other schedule at
    t' = s·t/(1 + (s − 1)·t) with s = factor (Esser et al. 2024, "Scaling Rectified Flow Transformers", eq. 23): it
    stays on the other's path, and at both its ends. On `rectified_flow` the two give the same SNR. The side is
    √(H·W) of what the network sees: of latents where these are diffused.
    """

    name = "shifted"

    schedule: Schedule = slot("cosine")
    by: Literal["log_snr", "time"] = "log_snr"
    base: Annotated[float, Field(ge=1, le=65_536)] = 64.0  # side of images that the other schedule was made for
    factor: Annotated[float | None, Field(gt=0, le=1000)] = None  # of σ/α; None: side / base

    def for_setting(self, setting: InputSpec) -> Self:
        """The factor, where nobody said it; the other schedule may ask as well."""
        _, height, width = setting.shape
        factor = math.sqrt(height * width) / self.base if self.factor is None else self.factor
        return self.model_copy(update={"schedule": self.schedule.for_setting(setting), "factor": factor})

    def provides(self) -> frozenset[str]:
        """What the other brings, but no table of steps; by `log_snr` the variance is kept."""
        kept = self.schedule.provides() - {"discrete"}
        return kept | {"variance_preserving"} if self.by == "log_snr" else kept

    def alpha(self, t: Tensor) -> Tensor:
        """The square root of sigmoid(log SNR), or the other's at t'."""
        return self.schedule.alpha(self._there(t)) if self.by == "time" else self.log_snr(t).sigmoid().sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """The square root of sigmoid(−log SNR), or the other's at t'."""
        return self.schedule.sigma(self._there(t)) if self.by == "time" else (-self.log_snr(t)).sigmoid().sqrt()

    def log_snr(self, t: Tensor) -> Tensor:
        """The other's, moved by −2·ln(factor), or at t'."""
        if self.by == "time":
            return self.schedule.log_snr(self._there(t))
        return self.schedule.log_snr(t) - 2 * math.log(self._factor)

    def time(self, log_snr: Tensor) -> Tensor:
        """Back the same way."""
        if self.by == "log_snr":
            return self.schedule.time(log_snr + 2 * math.log(self._factor))
        there = self.schedule.time(log_snr)
        return there / (self._factor - (self._factor - 1) * there)

    def _there(self, t: Tensor) -> Tensor:
        """t', at which the other schedule is taken."""
        t = t.double().clamp(0, 1)
        return self._factor * t / (1 + (self._factor - 1) * t)

    @property
    def _factor(self) -> float:
        if self.factor is None:
            raise ValueError("schedule 'shifted' follows from the data: call for_setting first, or give a factor")
        return self.factor
