"""solvers `euler` and `heun`: EDM's samplers in r = σ/α, where d(x/α)/dr = ε, with churn (Karras et al. 2022)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import Denoised, Denoiser, Grid, Point, Range, Schedule, Solver, State, noise_like

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Churned(Solver):
    """Before a step, churn raises r to (1 + γ)·r with fresh noise, γ = min(churn/steps, √2 − 1).

    Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", Alg. 2
    (there: S_churn, S_tmin, S_tmax, S_noise). It acts where churn_min <= r <= churn_max, and never
    rises above the schedule's own r(1).
    """

    churn: Annotated[float, Field(ge=0, le=1000)] = 0.0
    churn_min: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    churn_max: Annotated[float, Field(gt=0, le=1e9)] = 1e6
    churn_noise: Annotated[float, Field(gt=0, le=2)] = 1.0  # deviation of the fresh noise

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.churn_min >= self.churn_max:
            raise ValueError(f"churn_min ({self.churn_min:g}) must lie below churn_max ({self.churn_max:g})")
        return self

    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """A state after each step."""
        nfe = 0
        raised = self.raised(schedule)
        for (now, then), start in zip(self.intervals(schedule), raised, strict=True):
            if start is not now and start.ratio > now.ratio:
                fresh = self.churn_noise * math.sqrt(start.ratio**2 - now.ratio**2)
                x = start.alpha * (x / now.alpha + fresh * noise_like(x, generator))
            x, denoised, calls = self.step(denoise, x, start, then)
            nfe += calls
            yield State(x, denoised.x0, then.t, nfe)

    @abstractmethod
    def step(self, denoise: Denoiser, x: Tensor, now: Point, then: Point) -> tuple[Tensor, Denoised, int]:
        """The state at `then`, the first evaluation, and how many there were."""

    def raised(self, schedule: Schedule) -> list[Point]:
        """Where each step really starts: its point, or one with more noise."""
        points = self.points(schedule)[:-1]
        gamma = min(self.churn / self.steps, math.sqrt(2) - 1)
        if gamma == 0:
            return points
        higher = self.at_ratios(schedule, [min(p.ratio, self.churn_max) * (1 + gamma) for p in points])
        pairs = zip(points, higher, strict=True)
        return [up if self.churn_min <= p.ratio <= self.churn_max else p for p, up in pairs]


class Euler(Churned):
    """Euler's method: r to r' by x/α + (r' − r)·ε, first order; without churn the path of `ddim` at η = 0."""

    name = "euler"

    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 500, log=True)] = 150  # first order: it takes as many

    def nfe(self) -> int:
        """One call a step."""
        return self.steps

    def step(self, denoise: Denoiser, x: Tensor, now: Point, then: Point) -> tuple[Tensor, Denoised, int]:
        """α'·x0 + σ'·ε, the same step without the division by α."""
        denoised = self.denoised(denoise, x, now)
        return then.alpha * denoised.x0 + then.sigma * denoised.noise, denoised, 1


class Heun(Churned):
    """Heun's method, second order (Karras et al. 2022, Alg. 1 and, with churn, Alg. 2).

    The step from r to r' is x' = a·x + b·(ε + ε')/2 with a = α'/α, b = σ' − a·σ, and ε' is looked up
    at a·x + b·ε. The last step ends without noise and stays first order, so n steps take 2n − 1
    calls. The trapezoid does not damp a step from r to far less: where r' falls to the data's own
    deviation it leaves a good part of r·ε behind. So the grid is `karras`, whose steps shrink with r,
    from `sigma_max` on; with few steps its samples are too wide all the same.
    """

    name = "heun"

    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 100, log=True)] = 32
    grid: Grid = "karras"

    def excludes(self) -> Mapping[str, str]:
        """Zero terminal SNR: r is infinite where there is no signal."""
        return {
            "zero_terminal_snr": "heun integrates over σ/α, which is infinite at zero terminal SNR; "
            "use solver 'ddim', 'ddpm' or 'dpmpp_2m', or a schedule that keeps some signal"
        }

    def nfe(self) -> int:
        """Two calls a step, one in the last."""
        return 2 * self.steps - 1

    def step(self, denoise: Denoiser, x: Tensor, now: Point, then: Point) -> tuple[Tensor, Denoised, int]:
        """A step by ε, then the same with the mean of ε and ε'."""
        a = then.alpha / now.alpha
        b = then.sigma - a * now.sigma
        denoised = self.denoised(denoise, x, now)
        ahead = a * x + b * denoised.noise
        if then.sigma == 0:
            return ahead, denoised, 1
        denoised_ahead = self.denoised(denoise, ahead, then)
        return a * x + (b / 2) * (denoised.noise + denoised_ahead.noise), denoised, 2
