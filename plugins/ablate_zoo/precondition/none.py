"""precondition `none`: no preconditioning, the network sees x and gives the target as they are."""

from __future__ import annotations

from ablate.api import Coefficients, Level, Precondition, Target


class NoPrecondition(Precondition):
    """No preconditioning: c_skip = 0, c_out = c_in = 1, and c_noise = 999·t.

    So c_noise is the step 0 … 999 of a schedule with the usual 1000 steps, the scale for which
    sinusoidal embeddings were made; between the steps and for other schedules it is continuous.
    """

    name = "none"
    default = True

    def coefficients(self, level: Level, target: Target, sigma_data: float) -> Coefficients:
        """(0, 1, 1, 999·t)."""
        one = level.alpha * 0 + 1
        return Coefficients(skip=one * 0, output=one, input=one, noise=level.t * 999)
