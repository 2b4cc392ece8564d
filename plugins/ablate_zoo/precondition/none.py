"""precondition `none`: no preconditioning, the network sees x and gives the target as they are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ablate.api import Added, Coefficients, Level, Precondition, Target


class NoPrecondition(Precondition):
    """No preconditioning: c_skip = 0, c_out = c_in = 1, and c_noise = time_scale·t.

    By default c_noise is the step 0 … 999 of a schedule with the usual 1000 steps, the scale for which
    sinusoidal embeddings were made; between the steps and for other schedules it is continuous. Flow-matching
    transformers tell their network t itself, a scale of 1 (Ma et al. 2024, SiT).
    """

    name = "none"
    default = True

    time_scale: Annotated[float, Field(gt=0, le=1e6), Added(before=999.0)] = 999.0  # of c_noise over t

    def coefficients(self, level: Level, target: Target, sigma_data: float) -> Coefficients:
        """(0, 1, 1, time_scale·t)."""
        one = level.alpha * 0 + 1
        return Coefficients(skip=one * 0, output=one, input=one, noise=level.t * self.time_scale)
