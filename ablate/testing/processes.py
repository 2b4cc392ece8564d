"""Levels, batches and diffusion processes for the checks of their parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ablate.kinds.noised import Level, Noised
from ablate.kinds.precondition import Precondition
from ablate.kinds.process import Process
from ablate.kinds.schedule import Schedule
from ablate.kinds.target import Target
from ablate.kinds.weighting import Weighting
from ablate.testing.case import Case, clash

SIGMA_DATA = 0.6


def times(count: int = 101) -> Tensor:
    """Return times from 0 to 1, both included. (count,) float64."""
    return torch.linspace(0, 1, count, dtype=torch.float64)


def level_of(schedule: Schedule, t: Tensor) -> Level:
    """Return the noise levels at some times."""
    return Level(t, schedule.alpha(t), schedule.sigma(t))


def processes(case: Case, part: Any) -> Iterator[Process]:
    """Yield processes with the part in its place and every schedule and target that go with it and each other."""
    schedules = [part] if isinstance(part, Schedule) else case.partners("schedule")
    targets = [part] if isinstance(part, Target) else case.partners("target")
    weighting = part if isinstance(part, Weighting) else _default(case, Weighting)
    precondition = part if isinstance(part, Precondition) else _default(case, Precondition)
    for schedule in schedules:
        for target in targets:
            if not clash(schedule, target, weighting, precondition, part):
                yield Process(schedule, target, precondition, weighting, SIGMA_DATA)


def noised(process: Process, t: Tensor, dtype: torch.dtype = torch.float64) -> Noised:
    """Return a training batch at these times, with images of the process's own deviation."""
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, len(t), 2, 4, 4, generator=generator, dtype=dtype)
    return process.diffuse((SIGMA_DATA * x0).clamp(-1, 1), noise, process.level(t))


def _default(case: Case, kind: Any) -> Any:
    return case.catalog.create(kind.kind, {"type": case.catalog.default(kind.kind)})
