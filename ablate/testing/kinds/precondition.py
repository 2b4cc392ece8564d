"""Checks of a preconditioning: scaling around the network that can be undone at every level."""

from __future__ import annotations

import torch
from torch import Tensor

from ablate.kinds.precondition import Precondition
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.processes import SIGMA_DATA, noised, processes, times


def is_finite_everywhere(case: Case) -> None:
    """The coefficients are finite float64 shaped like the level, and neither c_in nor c_out is ever zero."""
    for part in case.variants(numbers=True):
        assert isinstance(part, Precondition)
        for process in processes(case, part):
            level = process.level(times()).guarded
            for name, value in part.coefficients(level, process.target, SIGMA_DATA)._asdict().items():
                where = f"{part!r}: c_{name} for {process.schedule!r} and {process.target!r}"
                assert value.dtype == torch.float64 and value.shape == level.t.shape, f"{where} is of another shape"
                assert value.isfinite().all(), f"{where} is not finite"
                assert name not in ("input", "output") or (value != 0).all(), f"{where} is zero"


def tells_levels_apart(case: Case) -> None:
    """c_noise rises or falls strictly with time, so that the network can tell every level from every other."""
    for part in case.variants(numbers=True):
        assert isinstance(part, Precondition)
        for process in processes(case, part):
            level = process.level(times()[1:-1]).guarded
            steps = part.coefficients(level, process.target, SIGMA_DATA).noise.diff()
            assert (steps > 0).all() or (steps < 0).all(), f"{part!r}: c_noise turns back for {process.schedule!r}"


def lets_the_optimal_network_through(case: Case) -> None:
    """A network that gives exactly what is asked of it, (y − c_skip·x)/c_out, yields the target."""
    for part in case.variants(numbers=True):
        for process in processes(case, part):
            batch = noised(process, times(12)[1:-1])
            target = process.target.value(batch.x0, batch.noise, batch.level)
            c = process.precondition.coefficients(batch.level.guarded, process.target, SIGMA_DATA)
            skip, output = (one.reshape(-1, 1, 1, 1) for one in (c.skip, c.output))
            answer = (target - skip * batch.x) / output

            def network(x: Tensor, noise: Tensor, labels: Tensor | None, answer: Tensor = answer) -> Tensor:
                return answer

            distance = (process.predict(network, batch.x, batch.level, None) - target).abs().max() / target.abs().max()
            assert distance <= 1e-9, (
                f"{part!r}: {float(distance):.2g} off for {process.schedule!r} and {process.target!r}"
            )


def has_unit_variance_where_it_says_so(case: Case) -> None:
    """With "unit_variance", what the network sees and what it is asked for have variance 1 at every level."""
    if "unit_variance" not in case.component.provides():
        raise NotApplicable("does not provide 'unit_variance'")
    for process in processes(case, case.component):
        level = process.level(times(21)[1:-1])
        c = process.precondition.coefficients(level, process.target, SIGMA_DATA)
        u, v = process.target.coefficients(level)
        on_x0, on_noise = (u - c.skip * level.alpha) / c.output, (v - c.skip * level.sigma) / c.output
        seen = c.input**2 * ((level.alpha * SIGMA_DATA) ** 2 + level.sigma**2)
        for what, variance in (("input", seen), ("target", (on_x0 * SIGMA_DATA) ** 2 + on_noise**2)):
            distance = float((variance - 1).abs().max())
            assert distance <= 1e-6, f"the {what}'s variance is up to {distance:.2g} from 1 for {process.schedule!r}"


CHECKS: tuple[Check, ...] = (
    is_finite_everywhere,
    tells_levels_apart,
    lets_the_optimal_network_through,
    has_unit_variance_where_it_says_so,
)
