"""solver `flow_map`: steps along the path, each by what the network says of the way to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Denoiser, Schedule, Solver, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FlowMap(Solver):
    """Steps x' = α'·x0 + σ'·ε, where x0 and ε are what the network says of the way from t to t'.

    Of a network that was trained for such ways (objective `mean_flow`) they are x' = x − (t − t')·u, u the mean
    velocity (Geng et al. 2025, eq. 12): exact in any number of steps, where the network is. Any other network speaks of
    t alone, and the steps are those of DDIM with η = 0: so both can be compared in one study.
    """

    name = "flow_map"

    # As many as other networks need; those that were trained for long ways need few.
    steps: Annotated[int, Field(ge=1, le=10_000), Choice(1, 2, 4, 8)] = 150

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step."""
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = self.denoised(denoise, x, now, then)
            x = then.alpha * denoised.x0 + then.sigma * denoised.noise
            yield State(x, denoised.x0, then.t, nfe)
