"""solver `consistency`: multistep consistency sampling, to the image at once and back to less noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Denoiser, Schedule, Solver, State, noise_like

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ConsistencySampling(Solver):
    """Multistep consistency sampling: x0 at once, then fresh noise of the next level, x' = α'·x0 + σ'·z.

    Song et al. 2023, "Consistency Models", Alg. 1. It is right for a network that leads to the image at once; of a
    denoiser, whose x0 is a mean, the samples would lose their spread.
    """

    name = "consistency"

    steps: Annotated[int, Field(ge=1, le=10_000), Choice(1, 2, 4, 8)] = 1

    def requires(self) -> Mapping[str, str]:
        """A network that leads to the image at once."""
        return {"consistency": "its steps go to the image at once; use objective 'consistency', or another solver"}

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step."""
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = self.denoised(denoise, x, now)
            x = then.alpha * denoised.x0
            if then.sigma > 0:
                x = x + then.sigma * noise_like(x, generator)
            yield State(x, denoised.x0, then.t, nfe)
