"""Distributions of noise levels: density and draw belong together."""

import pytest
import torch
from ablate_zoo.levels.uniform import Uniform
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.cosine import Cosine
from hypothesis import given
from hypothesis import strategies as st

LEVELS = [Uniform()]
SCHEDULES = [Linear(), Cosine(zero_terminal_snr=True)]
CASES = [(levels, schedule) for levels in LEVELS for schedule in SCHEDULES]


def integral(levels, schedule, start: float, end: float, parts: int = 40_000) -> float:
    """Midpoint rule."""
    edges = torch.linspace(start, end, parts + 1, dtype=torch.float64)
    return float(levels.density((edges[1:] + edges[:-1]) / 2, schedule).mean() * (end - start))


@pytest.mark.parametrize(("levels", "schedule"), CASES, ids=repr)
def test_density_integrates_to_one(levels, schedule):
    assert integral(levels, schedule, 0, 1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("levels", "schedule"), CASES, ids=repr)
@given(u=st.floats(0.01, 0.99))
def test_draw_inverts_the_distribution(levels, schedule, u):
    t = levels.draw(torch.tensor([u], dtype=torch.float64), schedule)
    assert t.dtype == torch.float64
    assert integral(levels, schedule, 0, float(t)) == pytest.approx(u, abs=1e-3)


@pytest.mark.parametrize(("levels", "schedule"), CASES, ids=repr)
def test_draws_stay_within_time(levels, schedule):
    t = levels.draw(torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1], schedule)
    assert ((t >= 0) & (t <= 1)).all()
    assert (t.diff() > -1e-12).all()
    assert (levels.density(t, schedule) >= 0).all()
