"""Warnings about discretisation error: solvers that put samples off by themselves, and so a part of every metric."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import get_args

from ablate.candidates.candidate import Candidate
from ablate.engine.contained import contained
from ablate.kinds.data import Data, image_setting
from ablate.kinds.schedule import Schedule
from ablate.kinds.solver import Grid, Solver
from ablate.runtime.patient import doing
from ablate.study.device import candidates
from ablate.study.loaded import LoadedStudy

STEPS = (10, 12, 14, 16, 20, 24, 28, 32, 40, 50, 64, 80, 100, 150, 200, 250, 400, 500, 1000)  # tried as a remedy


def check_sampling(loaded: LoadedStudy) -> list[str]:
    """Return the `solver_bias_warnings` of a study: of every candidate that is known beforehand."""
    return solver_bias_warnings((candidate for candidate, _ in candidates(loaded)), loaded.trial_settings.data)


def solver_bias_warnings(candidates: Iterable[Candidate], data: Data) -> list[str]:
    """Return a line for each solver, schedule and deviation of the data that puts Gaussian samples off by over 2 %.

    And one for each solver that clips latents. The deviation is the candidate's `sigma_data`; where the
    study does not say it, what the data expect of themselves, else 0.5: it is measured when all is read.
    """
    from ablate.evaluation.solver_bias import DEVIATION, TOLERATED, deviation_error

    latents = "latents" in data.provides()
    default = data.deviation() or DEVIATION
    warnings: dict[str, None] = {}
    setting = image_setting(data)
    ways = dict.fromkeys(
        (c.solver, c.schedule.for_setting(setting), c.sigma_data or default) for c in candidates if not c.jumps
    )
    for solver, schedule, deviation in ways:
        task = f"looking at what {_describe(solver, schedule)} does to Gaussian samples"
        # A plugin's own code: its trials report what is wrong.
        with contextlib.suppress(Exception), doing(task), contained():
            error = deviation_error(solver, schedule, deviation)
            if error is not None and abs(error) > TOLERATED:
                line = f"makes Gaussian samples {_percent(error)}: part of every metric is the solver's"
                remedies = list(_remedies(solver, schedule, deviation))
                line += f"; take {' or '.join(remedies)}" if remedies else ""
                warnings[f"{_describe(solver, schedule)} {line}"] = None
        if latents and solver.clip is True:
            line = "keeps latents within [-1, 1], and they reach beyond; leave 'clip' out"
            warnings[f"solver {solver.name!r} with clip: true {line}"] = None
    return list(warnings)


def _describe(solver: Solver, schedule: Schedule) -> str:
    return f"solver {solver.name!r} with {_steps(solver.steps)} on grid {solver.grid} of schedule {schedule.name!r}"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _percent(error: float) -> str:
    return f"{abs(error):.1%} too {'wide' if error > 0 else 'narrow'}".replace("%", " %")


def _remedies(solver: Solver, schedule: Schedule, deviation: float) -> Iterator[str]:
    """Yield other grids with as many steps, and the fewest steps on this one, with which it is within 2 %."""
    from ablate.evaluation.solver_bias import TOLERATED, deviation_error

    def right(**changes: object) -> bool:
        changed = solver.model_copy(update=changes)
        if set(changed.excludes()) & schedule.provides():
            return False
        error = deviation_error(changed, schedule, deviation)
        return error is not None and abs(error) <= TOLERATED

    yield from (f"grid {grid}" for grid in get_args(Grid) if grid != solver.grid and right(grid=grid))
    steps = next((n for n in STEPS if n > solver.steps and right(steps=n)), None)
    if steps is not None:
        yield f"{steps} steps"
