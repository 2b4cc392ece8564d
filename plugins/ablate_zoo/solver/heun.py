"""Heun's method on the probability-flow equation, as in EDM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ablate.api import Denoiser, Grid, Schedule, Solver, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Heun(Solver):
    """Second order in r = σ/α and x/α, where d(x/α)/dr = ε (Karras et al. 2022, Alg. 1).

    The step from r to r' is x' = a·x + b·(ε + ε')/2 with a = α'/α, b = σ' − a·σ, and ε' is looked up
    at a·x + b·ε. The last step ends without noise and stays first order, so n steps take 2n − 1
    calls. Its error is small only where neighbouring r are of one size: hence the karras grid.
    """

    name = "heun"

    grid: Grid = "karras"

    def excludes(self) -> Mapping[str, str]:
        """Zero terminal SNR: r is infinite where there is no signal."""
        return {
            "zero_terminal_snr": "heun integrates over σ/α, which is infinite at zero terminal SNR; "
            "use solver 'ddim', or a schedule that keeps some signal"
        }

    def nfe(self) -> int:
        """Two calls a step, one in the last."""
        return 2 * self.steps - 1

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step; deterministic."""
        nfe = 0
        for now, then in self.intervals(schedule):
            a = then.alpha / now.alpha
            b = then.sigma - a * now.sigma
            found = self.denoised(denoise, x, now)
            ahead = a * x + b * found.noise
            nfe += 1
            if then.sigma > 0:
                found_ahead = self.denoised(denoise, ahead, then)
                ahead = a * x + (b / 2) * (found.noise + found_ahead.noise)
                nfe += 1
            x = ahead
            yield State(x, found.x0, then.t, nfe)
