"""ema `power`: power-function EMA of the weights, its length a share of the training so far (Karras et al. 2024)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from ablate.api import Average, Ema, Range, Weights
from ablate_zoo.ema._post_hoc import exponent, share


class PowerEma(Ema):
    """Weights of time τ count as τ^γ (Karras et al. 2024, equations 1 to 4): decay (1 − batch/images)^(γ+1) a step.

    `length` is σ_rel, the standard deviation of that profile relative to the training so far, from
    which γ follows: 0.05 is γ = 16.97, 0.1 is 6.94, 0.2 is 1.83. The initial weights count nothing.
    """

    name = "power"

    length: Annotated[float, Field(ge=0.001, le=0.2886), Range(0.02, 0.25)] = 0.1  # σ_rel; 0.2886: all alike

    def provides(self) -> frozenset[str]:
        """Each number is averaged by itself."""
        return frozenset({"stackable"})

    def build(self, parameters: Weights) -> Average:
        """An average that is the parameters themselves after the first step."""
        from ablate_zoo.ema._averages import RunningAverages

        return RunningAverages(parameters, {f"power({self.length:.6g})": partial(share, exponent(self.length))})
