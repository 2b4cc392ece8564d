"""Distributions of noise levels: density and draw belong together."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ablate_zoo.levels.linear_sigma import LinearSigma
from ablate_zoo.levels.log_sigma import LogNormal, LogUniform
from ablate_zoo.levels.logit_normal import LogitNormal
from ablate_zoo.levels.uniform import UniformLevels
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.cosine import Cosine
from ablate_zoo.schedule.edm import Edm
from ablate_zoo.schedule.rectified_flow import RectifiedFlow

LEVELS = [UniformLevels(), LinearSigma(), LogUniform(), LogNormal(), LogitNormal(), LogitNormal(mean=0.5, std=0.6)]
SCHEDULES = [Linear(), Cosine(zero_terminal_snr=True), Edm(), RectifiedFlow()]
CASES = [(levels, schedule) for levels in LEVELS for schedule in SCHEDULES]


def integral(levels, schedule, start: float, end: float, parts: int = 40_000) -> float:
    """Midpoint rule."""
    edges = torch.linspace(start, end, parts + 1, dtype=torch.float64)
    return float(levels.density((edges[1:] + edges[:-1]) / 2, schedule).mean() * (end - start))


@pytest.mark.parametrize(("levels", "schedule"), CASES, ids=repr)
def test_density_integrates_to_one(levels, schedule):
    assert integral(levels, schedule, 0, 1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("levels", "schedule"), CASES, ids=repr)
@settings(max_examples=15)
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


@pytest.mark.parametrize(("levels", "schedule"), CASES, ids=repr)
def test_weighted_draws_are_as_good_as_draws_from_elsewhere(levels, schedule):
    """E_q[p/q·f] = E_p[f], for p even over a part of time where q is not small."""
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    low, high = levels.draw(torch.tensor([0.2, 0.8], dtype=torch.float64), schedule).tolist()
    t = levels.draw(u, schedule)
    p = ((t >= low) & (t <= high)).double() / (high - low)
    weighted = (p / levels.density(t, schedule) * (3 * t).cos()).mean()
    exact = (math.sin(3 * high) - math.sin(3 * low)) / (3 * (high - low))
    assert float(weighted) == pytest.approx(exact, abs=2e-3)


def test_linear_sigma_is_even_in_sigma():
    u = torch.linspace(0, 1, 101, dtype=torch.float64)[:-1]
    for schedule in SCHEDULES:
        low, high = schedule.sigma(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        share = (schedule.sigma(LinearSigma().draw(u, schedule)) - low) / (high - low)
        assert (share - u).abs().max() <= 1e-4


def test_log_normal_has_the_published_median_and_spread():
    u = torch.tensor([0.158655, 0.5, 0.841345], dtype=torch.float64)
    s = -Edm().log_snr(LogNormal().draw(u, Edm())) / 2
    assert s.tolist() == pytest.approx([-2.4, -1.2, 0], abs=1e-4)


def test_log_uniform_stays_within_its_bounds():
    u = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    t = LogUniform(sigma_min=0.1, sigma_max=10).draw(u, RectifiedFlow())
    assert (t / (1 - t)).tolist() == pytest.approx([0.1, 1, 10])


def test_bounds_that_enclose_nothing_are_refused():
    with pytest.raises(ValidationError, match="must lie below"):
        LogUniform(sigma_min=2, sigma_max=1)
    with pytest.raises(ValueError, match="no level between"):
        LogUniform(sigma_min=200, sigma_max=300).draw(torch.rand(2), Edm())
    with pytest.raises(ValueError, match="no level near"):
        LogNormal(p_mean=9, p_std=0.1).draw(torch.rand(2), Edm())
