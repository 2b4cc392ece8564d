"""solver: the sampler, from noise to an image, as a generator of states."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import Field

from ablate.kinds.noised import Denoised
from ablate.spec.component import Choice, Component, Range, When

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ablate.kinds.schedule import Schedule


class Denoiser(Protocol):
    """What a solver calls: (x, t) -> x0 and ε; one call is one evaluation.

    A third time says where the step leads. A network that was trained for the way between two times (an objective
    that provides "flow_map") is told it: then x0 and ε are such that α'·x0 + σ'·ε is where the path from (x, t) is at
    that time. Any other one is asked at t, as without it.
    """

    def __call__(self, x: Tensor, t: float, to: float | None = None, /) -> Denoised:
        """Return what the network says of x at t, on the way to `to`."""
        ...


Grid = Literal["trailing", "uniform", "karras"]


class State(NamedTuple):
    """The state of a solver after a step."""

    x: Tensor  # (B, C, H, W) fp32, at time t
    x0: Tensor  # the clean image as last predicted
    t: float
    nfe: int  # calls of the denoiser so far


class Point(NamedTuple):
    """A noise level in plain numbers: time, and the coefficients of x = α·x0 + σ·ε."""

    t: float
    alpha: float
    sigma: float

    @property
    def ratio(self) -> float:
        """σ/α, what EDM calls σ; infinite where there is no signal."""
        return self.sigma / self.alpha if self.alpha > 0 else float("inf")


CLEAN = Point(0.0, 1.0, 0.0)  # where every sample ends: the image itself


class Solver(Component):
    """Integrates the reverse process. All arithmetic in fp32 or better, whatever the network runs in.

    How far the steps alone put Gaussian samples off is known (`ablate.evaluation.solver_bias`), and the defaults of
    the solvers that ship are chosen by it (`benchmarks/solver_grids.py`).

    `steps` calls lie on a grid of times, and the last step goes on to the clean image:
    `trailing` at 1, 1 − 1/n, …, 1/n (Lin et al. 2023); `uniform` evenly from 1 to 0, both included
    (`trailing` where the schedule has no noise at 0); `karras` evenly in (σ/α)^(1/ρ) (Karras et
    al. 2022, eq. 5), from `sigma_max` down: where a schedule goes on to more noise than that, such
    as σ/α = 20,291 of `cosine`, it would spend most of its steps on levels that hold nothing.
    `clip` keeps each predicted image in [-1, 1] and takes ε to match: right for pixels, wrong for
    latents, which reach beyond. So by default the data decide (`settled`).
    """

    kind: ClassVar[str] = "solver"

    steps: Annotated[int, Field(ge=1, le=10_000), Range(10, 100, log=True)] = 50
    grid: Grid = "trailing"
    rho: Annotated[float, Field(ge=1, le=100), When("grid", ("karras",))] = 7.0
    # the noisiest σ/α, where the schedule reaches so far (80: Karras et al. 2022, table 1); None: its own at t = 1
    sigma_max: Annotated[float | None, Field(gt=0.01, le=1e6), When("grid", ("karras",))] = 80.0
    # auto: predictions of pixels are kept in [-1, 1], those of latents not
    clip: Annotated[Literal[True, False, "auto"], Choice(False, True)] = "auto"

    def provides(self) -> frozenset[str]:
        """Times that are even: 1, 1 − 1/n, …, 1/n."""
        return frozenset({"even_times"} if self.grid == "trailing" else ())

    def excludes(self) -> Mapping[str, str]:
        """Zero terminal SNR where the grid is laid out in σ/α, which has no end there."""
        if self.grid != "karras":
            return {}
        return {"zero_terminal_snr": "the karras grid runs over σ/α, which is infinite without signal; use 'trailing'"}

    def settled(self, latents: bool) -> Self:
        """Return the solver with `clip` decided by what the network draws, where nobody said."""
        return self if isinstance(self.clip, bool) else self.model_copy(update={"clip": not latents})

    def settings(self) -> str:
        """Format all fields that decide a sample but `steps`, which the evaluations give: part of the identity."""
        settings = {name: value for name, value in self.active().items() if name not in ("type", "steps")}
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
        return ", ".join(f"{name}={text}" for name, text in texts.items())

    @abstractmethod
    def nfe(self) -> int:
        """Return how often the denoiser is called for one sample."""

    @abstractmethod
    def sample(self, denoise: Denoiser, x: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[State]:
        """Yield the states from x at `start` to the image, in order; the last state's x is the sample.

        Times are plain numbers, laid out before the first call: no step waits for the device.
        """

    def start(self, schedule: Schedule) -> Point:
        """Return the level at which x is noise to begin with, σ·ε: the first of `points`."""
        return self.points(schedule)[0]

    def points(self, schedule: Schedule) -> list[Point]:
        """Return the `steps` levels at which the denoiser is called, then the clean image: steps + 1 of them."""
        import torch

        n = self.steps
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")
        clean_at_zero = float(schedule.sigma(ends)[0]) == 0.0
        if self.grid == "karras":
            low, high = (schedule.sigma(ends) / schedule.alpha(ends)).tolist()
            high = high if self.sigma_max is None else min(high, self.sigma_max)
            part = torch.linspace(0, 1, n, dtype=torch.float64, device="cpu")
            start, end = high ** (1 / self.rho), max(low, 1e-3) ** (1 / self.rho)
            ratio = (start + part * (end - start)) ** self.rho
            return [*self.at_ratios(schedule, ratio.tolist()), CLEAN]
        if self.grid == "uniform" and not clean_at_zero:
            t = torch.linspace(1, 0, n, dtype=torch.float64, device="cpu")
        else:
            t = torch.linspace(1, 0, n + 1, dtype=torch.float64, device="cpu")[:-1]
        return [*levels(schedule, t.tolist()), CLEAN]

    def intervals(self, schedule: Schedule) -> Iterator[tuple[Point, Point]]:
        """Return each step as (from, to)."""
        return pairwise(self.points(schedule))

    def at_ratios(self, schedule: Schedule, ratios: Sequence[float]) -> list[Point]:
        """Return the schedule's levels with these σ/α, cut to what it has."""
        import torch

        targets = torch.tensor(ratios, dtype=torch.float64, device="cpu")
        return levels(schedule, schedule.time(-2 * targets.log()).tolist())

    def denoised(self, denoise: Denoiser, x: Tensor, at: Point, to: Point | None = None) -> Denoised:
        """Call the denoiser once, with x0 kept within [-1, 1] unless `clip` forbids it. to: on the way to there."""
        denoised = denoise(x, at.t) if to is None else denoise(x, at.t, to.t)
        if self.clip is False:
            return denoised
        x0 = denoised.x0.clamp(-1, 1)
        return denoised._replace(x0=x0, noise=(x - at.alpha * x0) / at.sigma)


def levels(schedule: Schedule, times: list[float]) -> list[Point]:
    """Compute the schedule at some times, on the CPU in float64."""
    import torch

    t = torch.tensor(times, dtype=torch.float64, device="cpu")
    return [Point(*one) for one in zip(times, schedule.alpha(t).tolist(), schedule.sigma(t).tolist(), strict=True)]


def noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal noise on the generator's own device: the same for an image in whatever batch it stands."""
    from ablate.runtime.randomness import normal

    return normal(x.shape, generator, x.dtype).to(x.device)
