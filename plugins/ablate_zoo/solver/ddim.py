"""solver `ddim`: DDIM (Song et al. 2021), from one noise level straight to the next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Denoiser, Point, Range, Schedule, Solver, State, noise_like, posterior

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Ddim(Solver):
    """DDIM: x' = α'·x0 + √(σ'² − s²)·ε + s·z, first order (Song et al. 2021, eq. 12).

    s = η·(σ'/σ)·√(σ² − (α/α')²·σ'²) is the share of fresh noise: none at η = 0, that of ancestral
    sampling with the small variance at η = 1. It runs every schedule.
    """

    name = "ddim"

    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 500, log=True)] = 150  # first order: it takes as many
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step."""
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = self.denoised(denoise, x, now)
            fresh = self.eta * math.sqrt(step_variance(now, then))
            x = then.alpha * denoised.x0 + math.sqrt(max(then.sigma**2 - fresh**2, 0.0)) * denoised.noise
            if fresh > 0:
                x = x + fresh * noise_like(x, generator)
            yield State(x, denoised.x0, then.t, nfe)


def step_variance(now: Point, then: Point) -> float:
    """Compute the variance of q(x' | x, x0), the posterior of one step of the forward process."""
    return max(posterior(now.alpha, now.sigma, then.alpha, then.sigma).small, 0.0)
