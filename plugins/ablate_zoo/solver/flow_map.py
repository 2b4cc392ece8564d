"""solver `flow_map`: jumps along the path, by a network that was trained for the way between two times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, Denoiser, Schedule, Solver, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FlowMap(Solver):
    """Steps x' = α'·x0 + σ'·ε, where x0 and ε are what the network says of the way from t to t'.

    Under `rectified_flow` that is x' = x − (t − t')·u, u the mean velocity (Geng et al. 2025, eq. 12): exact in any
    number of steps, where the network is.
    """

    name = "flow_map"

    steps: Annotated[int, Field(ge=1, le=10_000), Choice(1, 2, 4, 8)] = 1

    def requires(self) -> Mapping[str, str]:
        """A network that knows where it is to go."""
        return {"flow_map": "it jumps between two times; use objective 'mean_flow', or another solver"}

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step."""
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = self.denoised(denoise, x, now, then)
            x = then.alpha * denoised.x0 + then.sigma * denoised.noise
            yield State(x, denoised.x0, then.t, nfe)
