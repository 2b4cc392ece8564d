"""solver `dpmpp_2m`: DPM-Solver++ (2M), second order from one call a step (Lu et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Denoiser, Point, Range, Schedule, Solver, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Dpmpp2m(Solver):
    """DPM-Solver++ (2M): x' = (σ'/σ)·x + α'·(1 − e^(−h))·D, D extrapolated from two x0 (Lu et al. 2022, Alg. 2).

    h is the step in λ = ln(α/σ), k the step before, and D = x0 + h/(2k)·(x0 − x0_before). The first
    and the last step, which have no neighbour or no finite λ, are first order. It runs every
    schedule; one without terminal signal on another grid than karras.
    """

    name = "dpmpp_2m"
    default = True

    # from 30 on Gaussian samples are within 2 % of their deviation on every schedule but scaled_linear
    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 100, log=True)] = 32

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step; deterministic."""
        before: Tensor | None = None
        last = math.inf
        for nfe, (now, then) in enumerate(self.intervals(schedule), 1):
            denoised = self.denoised(denoise, x, now)
            h = half_log_snr(then) - half_log_snr(now)
            ahead = denoised.x0
            if before is not None and math.isfinite(h) and math.isfinite(last):
                ahead = denoised.x0 + h / (2 * last) * (denoised.x0 - before)
            x = then.sigma / now.sigma * x - then.alpha * math.expm1(-h) * ahead
            before, last = denoised.x0, h
            yield State(x, denoised.x0, then.t, nfe)


def half_log_snr(at: Point) -> float:
    """Compute λ = ln(α/σ), infinite where one of them is zero."""
    if at.sigma == 0:
        return math.inf
    return math.log(at.alpha / at.sigma) if at.alpha > 0 else -math.inf
