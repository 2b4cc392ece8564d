"""Targets, preconditioning and the process that composes them: exact algebra at every level."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.api import Process
from ablate_zoo.precondition.edm import EdmPrecondition
from ablate_zoo.precondition.none import NoPrecondition
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.cosine import Cosine
from ablate_zoo.schedule.edm import Edm
from ablate_zoo.schedule.rectified_flow import RectifiedFlow
from ablate_zoo.target.epsilon import Epsilon
from ablate_zoo.target.flow import Flow
from ablate_zoo.target.score import Score
from ablate_zoo.target.v import Velocity
from ablate_zoo.target.x0 import Image
from ablate_zoo.weighting.uniform import UniformWeighting

TARGETS = [Epsilon(), Velocity(), Image(), Flow(), Score()]
PRECONDITIONS = [NoPrecondition(), EdmPrecondition()]
SCHEDULES = [Linear(), Cosine(), Cosine(zero_terminal_snr=True), Edm(), RectifiedFlow()]
SIGMA_DATA = 0.6


def fits(schedule, target) -> bool:
    return not set(target.excludes()) & schedule.provides()


PAIRS = [(s, y) for s in SCHEDULES for y in TARGETS if fits(s, y)]


def name(value) -> str:
    return value.name + ("_zero" if getattr(value, "zero_terminal_snr", False) else "")


def make(schedule, target, precondition=PRECONDITIONS[0]) -> Process:
    return Process(schedule, target, precondition, UniformWeighting(), SIGMA_DATA)


def batch(process, t, seed=0):
    x0, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return process.diffuse(SIGMA_DATA * x0, noise, process.level(torch.tensor(t, dtype=torch.float64).expand(3)))


def test_what_the_targets_are():
    process = make(Linear(), Velocity())
    b = batch(process, 0.3)
    alpha, sigma = b.level.alpha[0], b.level.sigma[0]
    assert torch.equal(Epsilon().value(b.x0, b.noise, b.level), b.noise)
    assert torch.allclose(Velocity().value(b.x0, b.noise, b.level), alpha * b.noise - sigma * b.x0, atol=1e-15)
    assert torch.equal(Image().value(b.x0, b.noise, b.level), b.x0)
    assert torch.equal(Flow().value(b.x0, b.noise, b.level), b.noise - b.x0)
    assert torch.allclose(Score().value(b.x0, b.noise, b.level), -b.noise / sigma)


def test_score_is_the_gradient_of_the_log_density():
    process = make(Linear(), Score())
    b = batch(process, 0.3)
    x = b.x.clone().requires_grad_()
    alpha, sigma = b.level.alpha[0], b.level.sigma[0]
    torch.distributions.Normal(alpha * b.x0, sigma).log_prob(x).sum().backward()
    assert torch.allclose(Score().value(b.x0, b.noise, b.level), x.grad)


@pytest.mark.parametrize(("schedule", "target"), PAIRS, ids=name)
@settings(max_examples=40)
@given(t=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_target_gives_back_image_and_noise(schedule, target, t, seed):
    process = make(schedule, target)
    b = batch(process, t, seed)
    y = target.value(b.x0, b.noise, b.level)
    found = process.denoised(y, b.x, b.level)
    # What x and y are off by, rounding or at the very ends the guard, times the condition of the equations.
    level = b.level.guarded
    off = 1e-14 if torch.equal(level.alpha, b.level.alpha) and torch.equal(level.sigma, b.level.sigma) else 5e-6
    u, v = target.coefficients(level)
    det = (level.alpha * v - level.sigma * u).abs()[0]
    x_size, y_size = b.x.abs().max(), y.abs().max()
    assert (found.x0 - b.x0).abs().max() <= off * (v.abs()[0] * x_size + level.sigma[0] * y_size) / det
    assert (found.noise - b.noise).abs().max() <= off * (u.abs()[0] * x_size + level.alpha[0] * y_size) / det


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@settings(max_examples=20)
@given(t=st.floats(0.001, 0.99))
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


UNIT = [(s, y, t) for s, y in PAIRS for t in (0.02, 0.3, 0.7, 0.98)]


@pytest.mark.parametrize(("schedule", "target", "t"), UNIT, ids=str)
def test_edm_preconditioning_gives_unit_variance_to_input_and_target(schedule, target, t):
    """The variances are those of sums of independent parts, so they are exact and not sampled."""
    process = make(schedule, target)
    level = process.level(torch.tensor(t, dtype=torch.float64))
    c = EdmPrecondition().coefficients(level, target, SIGMA_DATA)
    u, v = target.coefficients(level)
    seen = c.input**2 * ((level.alpha * SIGMA_DATA) ** 2 + level.sigma**2)
    on_x0, on_noise = (u - c.skip * level.alpha) / c.output, (v - c.skip * level.sigma) / c.output
    assert float(seen) == pytest.approx(1, abs=1e-9)
    assert float((on_x0 * SIGMA_DATA) ** 2 + on_noise**2) == pytest.approx(1, abs=1e-7)
    for off in (-0.01, 0.01):  # any other c_skip leaves more for the network to say
        rest = (u - (c.skip + off) * level.alpha) ** 2 * SIGMA_DATA**2 + (v - (c.skip + off) * level.sigma) ** 2
        assert rest > c.output**2


def test_edm_preconditioning_is_the_published_one_for_images():
    level = make(Edm(), Image()).level(torch.linspace(0, 1, 9, dtype=torch.float64))
    s, d = level.sigma, 0.5
    c = EdmPrecondition().coefficients(level, Image(), d)
    assert torch.allclose(c.skip, d**2 / (s**2 + d**2))
    assert torch.allclose(c.output, s * d / (s**2 + d**2).sqrt())
    assert torch.allclose(c.input, 1 / (s**2 + d**2).sqrt())
    assert torch.allclose(c.noise, s.log() / 4)


@pytest.mark.parametrize("precondition", PRECONDITIONS, ids=name)
@pytest.mark.parametrize(("schedule", "target"), PAIRS, ids=name)
@settings(max_examples=20)
@given(t=st.floats(0.001, 0.999))
def test_the_optimal_network_recovers_the_image(schedule, target, precondition, t):
    """A network that gives exactly what is asked of it, (y − c_skip·x)/c_out, under each preconditioning."""
    process = make(schedule, target, precondition)
    b = batch(process, t)
    c = precondition.coefficients(b.level.guarded, target, SIGMA_DATA)
    wide = [one.reshape(-1, 1, 1, 1) for one in (c.skip, c.output, c.input)]
    answer = (target.value(b.x0, b.noise, b.level) - wide[0] * b.x) / wide[1]

    def network(x, noise, labels):
        assert torch.allclose(x, wide[2] * b.x)
        return answer

    found = process.denoised(process.predict(network, b.x, b.level, None), b.x, b.level)
    assert (found.x0 - b.x0).abs().max() <= 1e-10 / b.level.alpha[0]


def test_zero_terminal_snr_excludes_predicting_noise():
    schedule = Linear(zero_terminal_snr=True)
    assert not fits(schedule, Epsilon())
    assert "'v'" in Epsilon().excludes()["zero_terminal_snr"]
    assert fits(schedule, Velocity())
    assert fits(Linear(), Epsilon())
    assert not fits(RectifiedFlow(), Score())
    assert fits(RectifiedFlow(), Flow())


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


def test_a_network_may_be_told_time_itself():
    """SiT and LightningDiT embed t in [0, 1]."""
    process = make(RectifiedFlow(), Flow(), NoPrecondition(time_scale=1))
    seen = []
    x = torch.zeros(1, 1, 2, 2)
    process.predict(lambda x, noise, labels: (seen.append(noise), x)[1], x, process.level(torch.tensor(0.25)), None)
    assert seen[0].item() == 0.25


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
    assert torch.allclose(make(Edm(), Image()).prior(noise), 80 * noise)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@settings(max_examples=20)
@given(t=st.floats(0.01, 0.98))
def test_under_edm_preconditioning_all_targets_are_one_up_to_sign(schedule, t):
    """docs/process.md: F regresses ±(α·s·ε − σ·x0/s)/√V, whatever the target."""
    for target in TARGETS:
        process = make(schedule, target, EdmPrecondition())
        b = batch(process, t)
        c = EdmPrecondition().coefficients(b.level, target, SIGMA_DATA)
        skip, output, alpha, sigma = (
            one.reshape(-1, 1, 1, 1) for one in (c.skip, c.output, b.level.alpha, b.level.sigma)
        )
        asked = (target.value(b.x0, b.noise, b.level) - skip * b.x) / output
        size = ((alpha * SIGMA_DATA) ** 2 + sigma**2).sqrt()
        same = (alpha * SIGMA_DATA * b.noise - sigma / SIGMA_DATA * b.x0) / size
        assert min((asked - same).abs().max(), (asked + same).abs().max()) <= 1e-6
