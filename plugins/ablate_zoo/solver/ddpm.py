"""solver `ddpm`: ancestral sampling, each step draws from the reverse process (Ho et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Denoiser, Range, Schedule, Solver, State, noise_like, posterior

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Ddpm(Solver):
    """Ancestral sampling: x' drawn from q(x' | x, x0) at the predicted x0 (Ho et al. 2020, Alg. 2), for any schedule.

    `variance`: `small` is β̃, right for data without spread; `large` is β, right for data of unit
    variance; `learned` lies between them, as the network says (Nichol & Dhariwal 2021, eq. 15). The
    last step, to the clean image, adds no noise.
    """

    name = "ddpm"

    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 1000, log=True)] = (
        400  # half its noise is fresh: it takes as many
    )
    variance: Literal["small", "large", "learned"] = "small"

    def requires(self) -> Mapping[str, str]:
        """A network that learns Σ, if that is what is asked for."""
        if self.variance != "learned":
            return {}
        return {"learned_variance": "the solver takes each step's variance from the network"}

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step."""
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = self.denoised(denoise, x, now)
            back = posterior(now.alpha, now.sigma, then.alpha, then.sigma)
            x = back.on_x * x + back.on_x0 * denoised.x0
            if then.sigma > 0:
                x = x + self._deviation(denoised.variance, back.small, back.large) * noise_like(x, generator)
            yield State(x, denoised.x0, then.t, nfe)

    def _deviation(self, raw: Tensor | None, small: float, large: float) -> Tensor | float:
        if self.variance != "learned":
            return math.sqrt(small if self.variance == "small" else large)
        if raw is None:
            raise ValueError("solver 'ddpm' with a learned variance needs a network that gives one")
        share = (raw + 1) / 2
        return ((share * math.log(large) + (1 - share) * math.log(small)) / 2).exp()
