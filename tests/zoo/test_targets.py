"""Targets, preconditioning and the process that composes them: exact algebra at every level."""

import pytest
import torch
from ablate_zoo.precondition.none import NoPrecondition
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.cosine import Cosine
from ablate_zoo.target.epsilon import Epsilon
from ablate_zoo.target.v import Velocity
from ablate_zoo.weighting.uniform import Uniform
from hypothesis import given
from hypothesis import strategies as st

from ablate.api import Process

TARGETS = [Epsilon(), Velocity()]
PRECONDITIONS = [NoPrecondition()]
SCHEDULES = [Linear(), Cosine(), Cosine(zero_terminal_snr=True)]
SIGMA_DATA = 0.6


def fits(schedule, target) -> bool:
    return not set(target.excludes()) & schedule.provides()


PAIRS = [(s, y) for s in SCHEDULES for y in TARGETS if fits(s, y)]


def name(value) -> str:
    return value.name + ("_zero" if getattr(value, "zero_terminal_snr", False) else "")


def make(schedule, target, precondition=PRECONDITIONS[0]) -> Process:
    return Process(schedule, target, precondition, Uniform(), SIGMA_DATA)


def batch(process, t, seed=0):
    x0, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return process.diffuse(SIGMA_DATA * x0, noise, process.level(torch.tensor(t, dtype=torch.float64).expand(3)))


def test_what_the_targets_are():
    process = make(Linear(), Velocity())
    b = batch(process, 0.3)
    alpha, sigma = b.level.alpha[0], b.level.sigma[0]
    assert torch.equal(Epsilon().value(b.x0, b.noise, b.level), b.noise)
    assert torch.allclose(Velocity().value(b.x0, b.noise, b.level), alpha * b.noise - sigma * b.x0, atol=1e-15)


@pytest.mark.parametrize(("schedule", "target"), PAIRS, ids=name)
@given(t=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_target_gives_back_image_and_noise(schedule, target, t, seed):
    process = make(schedule, target)
    b = batch(process, t, seed)
    found = process.denoised(target.value(b.x0, b.noise, b.level), b.x, b.level)
    level = b.level.guarded
    guard = 5e-6 * bool(level.alpha[0] != b.level.alpha[0])
    # rounding of x and y is divided by the coefficient with which the unknown enters
    assert (found.x0 - b.x0).abs().max() <= guard + 1e-13 / level.alpha[0]
    assert (found.noise - b.noise).abs().max() <= guard + 1e-13 / level.sigma[0] ** 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@given(t=st.floats(0, 0.99))
def test_any_prediction_converts_into_any_other_and_back(schedule, t):
    for first in TARGETS:
        for second in TARGETS:
            process, other = make(schedule, first), make(schedule, second)
            b = batch(process, t)
            y = torch.randn(b.x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            found = process.denoised(y, b.x, b.level)
            there = other.denoised(second.value(found.x0, found.noise, b.level), b.x, b.level)
            back = first.value(there.x0, there.noise, b.level)
            assert torch.allclose(back, y, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("precondition", PRECONDITIONS, ids=name)
@pytest.mark.parametrize(("schedule", "target"), PAIRS, ids=name)
@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_gradients_are_finite_at_both_ends(schedule, target, precondition, t):
    process = make(schedule, target, precondition)
    b = batch(process, t)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    y = process.predict(lambda x, noise, labels: weight * x, b.x, b.level, None)
    found = process.denoised(y, b.x, b.level)
    (found.x0.square().sum() + found.noise.square().sum() + y.square().sum()).backward()
    assert torch.isfinite(weight.grad)
    assert weight.grad.abs() > 0


def test_zero_terminal_snr_excludes_predicting_noise():
    schedule = Linear(zero_terminal_snr=True)
    assert not fits(schedule, Epsilon())
    assert "'v'" in Epsilon().excludes()["zero_terminal_snr"]
    assert fits(schedule, Velocity())
    assert fits(Linear(), Epsilon())


def test_v_is_the_image_where_there_is_no_signal():
    process = make(Linear(zero_terminal_snr=True), Velocity())
    b = batch(process, 1.0)
    assert torch.equal(b.x, b.noise)
    found = process.denoised(-b.x0, b.x, b.level)
    assert torch.allclose(found.x0, b.x0, atol=1e-5)  # the guard's 1e-6
    assert torch.allclose(found.noise, b.noise, atol=1e-5)


def test_the_network_is_told_the_familiar_step():
    process = make(Linear(), Epsilon())
    seen = []

    def network(x, noise, labels):
        seen.append(noise)
        return x

    x = torch.zeros(2, 1, 2, 2)
    for i in (0, 500, 999):
        process.predict(network, x, process.level(torch.tensor(i / 999, dtype=torch.float64)), None)
    assert torch.stack(seen).tolist() == [[0, 0], [500, 500], [999, 999]]
    assert seen[0].dtype == x.dtype


def test_channels_of_a_learned_variance_pass_through():
    process = make(Linear(), Epsilon())
    b = batch(process, 0.4)
    y = process.predict(lambda x, noise, labels: torch.cat([x, 7 * torch.ones_like(x)], 1), b.x, b.level, None)
    assert y.shape == (3, 4, 4, 4)
    found = process.denoised(y, b.x, b.level)
    assert found.x0.shape == b.x.shape
    assert (found.variance == 7).all()


def test_sampling_starts_from_the_noise_of_the_last_level():
    noise = torch.randn(4, 1, 2, 2)
    assert torch.allclose(make(Linear(), Epsilon()).prior(noise), noise, rtol=1e-4)
