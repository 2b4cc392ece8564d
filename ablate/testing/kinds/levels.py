"""Checks of a distribution of noise levels: density and draw belong together."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ablate.kinds.levels import Levels
from ablate.kinds.schedule import Schedule
from ablate.testing import fitted as following
from ablate.testing.case import Case, Check, fitted, fitting
from ablate.testing.processes import times

PARTS = 20_000  # of the midpoint rule
SHARES = (0.02, 0.25, 0.5, 0.75, 0.98)


def stays_within_time(case: Case) -> None:
    """Times are float64 in [0, 1] and do not fall as the uniform number rises; the density is not negative."""
    for part, schedule in _pairs(case):
        t = part.draw(times(1001)[:-1], schedule)
        assert t.dtype == torch.float64 and t.shape == (1000,), f"{part!r} draws {t.dtype} {tuple(t.shape)}"
        assert ((t >= 0) & (t <= 1)).all(), f"{part!r} draws times from {t.min():g} to {t.max():g} for {schedule!r}"
        assert (t.diff() > -1e-9).all(), f"{part!r}: a larger uniform number gives an earlier time for {schedule!r}"
        density = part.density(t, schedule)
        assert density.isfinite().all() and (density >= 0).all(), f"{part!r}: a density below 0 for {schedule!r}"


def has_a_density_of_one(case: Case) -> None:
    """The density integrates to one over [0, 1]."""
    for part, schedule in _pairs(case):
        whole = float(_cumulated(part, schedule)[-1])
        assert abs(whole - 1) <= 5e-3, f"{part!r}: the density integrates to {whole:.4f} for {schedule!r}"


def draws_from_its_density(case: Case) -> None:
    """A share u of the density lies below draw(u)."""
    for part, schedule in _pairs(case):
        shares = torch.tensor(SHARES, dtype=torch.float64)
        below = _cumulated(part, schedule)[(part.draw(shares, schedule) * PARTS).round().long().clamp(max=PARTS)]
        distance = float((below - shares).abs().max())
        assert distance <= 5e-3, f"{part!r}: draw and density are {distance:.4f} apart for {schedule!r}"


def _pairs(case: Case) -> Iterator[tuple[Levels, Schedule]]:
    for part in map(fitted, case.variants(numbers=True)):
        assert isinstance(part, Levels)
        for schedule in fitting(case.partners("schedule"), part):
            yield part, schedule


def _cumulated(part: Levels, schedule: Schedule) -> torch.Tensor:
    """Return the share below each of PARTS + 1 even times, by the midpoint rule."""
    edges = times(PARTS + 1)
    density = part.density((edges[1:] + edges[:-1]) / 2, schedule)
    return torch.cat([density.new_zeros(1), density.cumsum(0) / PARTS])


CHECKS: tuple[Check, ...] = (
    stays_within_time,
    has_a_density_of_one,
    draws_from_its_density,
    *following.CHECKS,
)
