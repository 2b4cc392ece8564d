"""Guidance within a limited interval of noise levels (Kynkäänniemi et al. 2024), for `cfg` and `classifier`."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Guidance, Level


class IntervalGuidance(Guidance):
    """A guidance between two levels, in σ/α (Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval")."""

    sigma_low: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    sigma_high: Annotated[float | None, Field(gt=0, le=1e9)] = None  # None: from pure noise on

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.sigma_high is not None and self.sigma_low >= self.sigma_high:
            raise ValueError(f"sigma_low ({self.sigma_low:g}) must lie below sigma_high ({self.sigma_high:g})")
        return self

    def guides(self, level: Level) -> bool:
        """Whether a level lies within."""
        ratio = math.exp(-float(level.log_snr) / 2)
        return ratio > self.sigma_low and (self.sigma_high is None or ratio <= self.sigma_high)

    def interval(self) -> list[str]:
        """Format the interval, such as `0.28-2.9`; empty where all levels lie within. A part of `describe`."""
        if self.sigma_low == 0 and self.sigma_high is None:
            return []
        return [f"{self.sigma_low:g}-{'' if self.sigma_high is None else format(self.sigma_high, 'g')}"]
