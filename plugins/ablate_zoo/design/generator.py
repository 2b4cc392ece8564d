"""design `generator`: a small diffusion over the candidates so far, guided towards good ones, proposes the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Schedule, Solver, slot
from ablate_zoo.design._sampled import Sampled

if TYPE_CHECKING:
    import optuna


class Generator(Sampled):
    """A generator of candidates guided by a predictor, after DiffusionNAG (An et al. 2024, arXiv:2305.16943).

    For each candidate anew, a small network learns to denoise the encoded candidates seen so far, and which of them,
    noisy as they are, come first: front after front, within a front by what each adds to its hypervolume. Drawn are
    `draws` candidates along the gradient of that; the best of those that nobody asked for is the next. A choice is
    one-hot, a range one number; what does not exist is 0. On the recorded table it takes less training than chance and
    more than evolution or TPE (docs/decisions/0064).
    """

    name = "generator"

    first: Annotated[int, Field(ge=2, le=10_000)] = 10  # candidates by chance before there is something to learn
    draws: Annotated[int, Field(ge=1, le=10_000)] = 64  # drawn for each candidate that is asked for
    guidance: Annotated[float, Field(ge=0, le=1000)] = 16.0  # of the predictor's gradient; 0: what was seen, again
    fits: Annotated[int, Field(ge=1, le=100_000)] = 100  # steps of the network's training
    schedule: Schedule = slot("cosine")
    solver: Solver = slot("ddim")
    steps: Annotated[int, Field(ge=1, le=1000)] = 10  # of the solver

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """It keeps nothing in itself: what it learns from stands in Optuna's study."""
        from ablate_zoo.design._generator import GeneratorSampler

        solver = self.solver.model_copy(update={"steps": self.steps})
        return GeneratorSampler(self.first, self.draws, self.guidance, self.fits, self.schedule, solver, seed)
