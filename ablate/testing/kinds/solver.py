"""Checks of a solver: it counts its calls, ends at the image, and finds a distribution that is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from ablate.kinds.noised import Denoised
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Denoiser, Solver, State
from ablate.testing.case import Case, Check, fitting

MEAN, DEVIATION = 0.4, 0.5
SAMPLES, FINE = 10_000, 300  # samples and steps in which a solver has to come close
OFF = 0.03  # of mean and deviation: sampling error is 0.005, the rest is left to the steps


def counts_its_calls(case: Case) -> None:
    """`nfe()` is how often the denoiser is called, and every state says how often it was so far."""
    for part, schedule in _pairs(case):
        for steps in (1, 2, 7):
            calls: list[float] = []
            states = _run(_with(part, steps=steps), schedule, _noise(2, 1, 2, 2), calls)
            where = f"{part!r} in {steps} steps with {schedule!r}"
            expected = _with(part, steps=steps).nfe()
            assert len(calls) == expected == states[-1].nfe, (
                f"{where}: nfe() {expected}, {len(calls)} calls, the last state says {states[-1].nfe}"
            )
            assert all(isinstance(t, float) and 0 <= t <= 1 for t in calls), (
                f"{where}: a time that is no number in [0, 1]"
            )
            assert all(a.nfe <= b.nfe for a, b in pairwise(states))


def goes_from_noise_to_the_image(case: Case) -> None:
    """Times do not rise and end at 0; every state is finite and shaped like the noise that it began with."""
    for part, schedule in _pairs(case):
        x = _noise(3, 2, 4, 4)
        states = _run(_with(part, steps=5), schedule, x, [])
        where = f"{part!r} with {schedule!r}"
        assert states, f"{where}: yields no state"
        assert states[-1].t == 0, f"{where}: ends at t = {states[-1].t:g}, not at the image"
        assert all(a.t >= b.t for a, b in pairwise(states)), f"{where}: time rises"
        for state in states:
            assert state.x.shape == state.x0.shape == x.shape and state.x.dtype == x.dtype, (
                f"{where}: another shape or type"
            )
            assert state.x.isfinite().all(), f"{where}: a state is not finite"


def finds_a_known_distribution(case: Case) -> None:
    """With the optimal denoiser of Gaussian data, samples have that mean and deviation, on the solver's own grid."""
    solver = case.component
    for part, schedule in _pairs(case):
        if isinstance(solver, Solver) and part.grid != solver.grid:
            continue
        noise = _noise(SAMPLES, 1, 1, 1).float()  # in float64 fresh noise takes most of the time
        x = _run(_with(part, steps=FINE), schedule, noise, [])[-1].x
        for what, value, expected in (("mean", x.mean(), MEAN), ("deviation", x.std(), DEVIATION)):
            assert abs(float(value) - expected) <= OFF, (
                f"{part!r} with {schedule!r}: {what} {float(value):.3f}, not {expected}"
            )


def is_decided_by_its_generator(case: Case) -> None:
    """One generator's state and one noise give one sample; fresh noise is drawn from the generator alone."""
    for part, schedule in _pairs(case):
        first, second = (_run(_with(part, steps=4), schedule, _noise(2, 1, 2, 2), [])[-1].x for _ in range(2))
        assert torch.equal(first, second), f"{part!r} with {schedule!r}: draws from elsewhere"


def clips_if_told_to(case: Case) -> None:
    """With `clip`, every predicted image lies in [-1, 1], whatever the network says."""

    def wild(x: Tensor, t: float, to: float | None = None, /) -> Denoised:
        return Denoised(x0=5 * x, noise=x, variance=-torch.ones_like(x))

    for part, schedule in _pairs(case):
        solver = _with(part, steps=4, clip=True)
        for state in solver.sample(wild, _noise(2, 1, 2, 2), schedule, torch.Generator().manual_seed(0)):
            assert state.x0.abs().max() <= 1 + 1e-6, f"{part!r} with {schedule!r}: |x0| is {state.x0.abs().max():g}"


def _pairs(case: Case) -> Iterator[tuple[Solver, Schedule]]:
    """Yield the solver, its switches turned, each with every schedule that it runs."""
    seen = set()
    for part in case.variants():
        assert isinstance(part, Solver)
        digest = _with(part, clip=False).digest()  # `clip` has a check of its own
        if digest in seen:
            continue
        seen.add(digest)
        for schedule in fitting(case.partners("schedule"), part):
            yield part, schedule


def _with(solver: Solver, **changes: object) -> Solver:
    return solver.model_copy(update=changes)


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _run(solver: Solver, schedule: Schedule, z: Tensor, calls: list[float]) -> list[State]:
    """Return all states from noise z, without clipping."""
    alpha, sigma = _coefficients(schedule)(solver.start(schedule).t)
    x = alpha * MEAN + math.hypot(alpha * DEVIATION, sigma) * z
    generator = torch.Generator().manual_seed(2)
    jumps = "consistency" in solver.requires()
    return list(_with(solver, clip=False).sample(_optimal(schedule, calls, jumps), x, schedule, generator))


def _optimal(schedule: Schedule, calls: list[float], jumps: bool) -> Denoiser:
    """Compute E[x0 | x] for x0 of that mean and deviation: what a perfect network predicts.

    On the way to another time it is the mean over the path, which leads there exactly; jumps: that to the image, for a
    solver that needs a consistency function. The path of a Gaussian keeps (x − α·mean)/√variance.
    """
    at = _coefficients(schedule)

    def denoise(x: Tensor, t: float, to: float | None = None, /) -> Denoised:
        calls.append(t)
        alpha, sigma = at(t)
        variance = (alpha * DEVIATION) ** 2 + sigma**2
        if jumps or to is not None:
            further = at(to) if to else (1.0, 0.0)  # the image
            scale = math.sqrt(((further[0] * DEVIATION) ** 2 + further[1] ** 2) / variance)
            there = further[0] * MEAN + scale * (x - alpha * MEAN)
            det = alpha * further[1] - sigma * further[0]
            return Denoised((x * further[1] - sigma * there) / det, (alpha * there - further[0] * x) / det)
        rest = (x - alpha * MEAN) / variance
        return Denoised(MEAN + alpha * DEVIATION**2 * rest, sigma * rest, -torch.ones_like(x))

    return denoise


def _coefficients(schedule: Schedule) -> Callable[[float], tuple[float, float]]:
    def at(t: float) -> tuple[float, float]:
        time = torch.tensor(t, dtype=torch.float64)
        return float(schedule.alpha(time)), float(schedule.sigma(time))

    return at


CHECKS: tuple[Check, ...] = (
    counts_its_calls,
    goes_from_noise_to_the_image,
    finds_a_known_distribution,
    is_decided_by_its_generator,
    clips_if_told_to,
)
