"""Weightings and the loss: the weight means the same error of x0 whatever the target is."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ablate.api import Process
from ablate_zoo.loss.mse import Mse
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
from ablate_zoo.weighting.by_target import ByTarget
from ablate_zoo.weighting.edm import EdmWeighting
from ablate_zoo.weighting.min_snr import MinSnr
from ablate_zoo.weighting.sigmoid import SigmoidWeighting
from ablate_zoo.weighting.snr import P2, ClippedSnr, LogSnr, MaxSnr, Snr
from ablate_zoo.weighting.uniform import UniformWeighting

TARGETS = [Epsilon(), Velocity(), Image(), Flow(), Score()]
WEIGHTINGS = [
    *(UniformWeighting(), MinSnr(), MinSnr(tau=1.0), Snr(), Snr(gamma=0.5), LogSnr()),
    *(MaxSnr(), ClippedSnr(), P2(), EdmWeighting(), SigmoidWeighting(bias=-3.0)),
]
SCHEDULES = [Linear(), Cosine(), Cosine(zero_terminal_snr=True), Edm(), RectifiedFlow()]


def make(weighting, target=TARGETS[0], schedule=SCHEDULES[0]) -> Process:
    return Process(schedule, target, NoPrecondition(), weighting, 0.6)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_weights_are_finite_and_not_negative(weighting, schedule):
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    for target in TARGETS:
        for one in (weighting, weighting.model_copy(update={"apply": "native"})):
            process = make(one, target, schedule)
            for weight in (process.x0_weight(process.level(t)), process.target_weight(process.level(t))):
                assert weight.shape == t.shape
                assert weight.float().isfinite().all()
                assert (weight >= 0).all()
                assert weight.max() > 0


@pytest.mark.parametrize("apply", ["x0", "native"])
@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
@pytest.mark.parametrize("target", TARGETS, ids=lambda y: y.name)
@settings(max_examples=10)
@given(t=st.floats(0.001, 0.999))
def test_weight_times_error_is_the_same_on_x0_and_on_the_target(weighting, target, apply, t):
    process = make(weighting.model_copy(update={"apply": apply}), target)
    x0, noise = 0.6 * draw(2, 1, 4, 4), draw(2, 1, 4, 4, seed=1)
    b = process.diffuse(x0, noise, process.level(torch.tensor([t, t / 2], dtype=torch.float64)))
    y = target.value(x0, noise, b.level)
    predicted = y + 0.1 * draw(2, 1, 4, 4, seed=2)
    x0_error = (process.denoised(predicted, b.x, b.level).x0 - x0).square().flatten(1).mean(1)
    y_error = (predicted - y).square().flatten(1).mean(1)
    on_x0, on_y = process.x0_weight(b.level) * x0_error, process.target_weight(b.level) * y_error
    assert torch.allclose(on_x0, on_y, rtol=1e-6)
    given_weight = process.weighting.weight(b.level, process.sigma_data)
    assert torch.allclose(given_weight * (x0_error if apply == "x0" else y_error), on_x0, rtol=1e-6)


@given(t=st.floats(0, 1), tau=st.floats(0.1, 100))
def test_min_snr_has_the_published_form_for_each_target(t, tau):
    level = make(MinSnr()).level(torch.tensor([t], dtype=torch.float64))
    snr = level.snr
    capped = snr.clamp(max=tau)
    assert torch.allclose(make(MinSnr(tau=tau), Epsilon()).target_weight(level), capped / snr)
    assert torch.allclose(make(MinSnr(tau=tau), Velocity()).target_weight(level), capped / (snr + 1))
    assert make(MinSnr(tau=tau)).x0_weight(level) <= tau


@given(t=st.floats(0, 1))
def test_the_weights_in_their_published_forms(t):
    level = make(Snr()).level(torch.tensor([t], dtype=torch.float64))
    snr, one = level.snr, torch.ones(1, dtype=torch.float64)
    on_noise = {w.name: make(w).target_weight(level) for w in (Snr(), P2(), MaxSnr())}
    assert torch.allclose(on_noise["snr"], one)
    assert torch.allclose(on_noise["p2"], (1 + snr) ** -0.5)
    assert torch.allclose(on_noise["max_snr"], torch.maximum(one, 1 / snr))
    assert torch.allclose(make(LogSnr(floor=0.2)).x0_weight(level), snr.log().clamp(min=0.2))
    assert 0.1 <= make(ClippedSnr()).x0_weight(level) <= 5


def test_edm_weighting_is_the_published_one():
    process = make(EdmWeighting(), Image(), Edm())
    level = process.level(torch.linspace(0, 1, 50, dtype=torch.float64))
    s, d = level.sigma, process.sigma_data
    assert torch.allclose(process.target_weight(level), (s**2 + d**2) / (s * d) ** 2)


@pytest.mark.parametrize("target", TARGETS, ids=lambda y: y.name)
@pytest.mark.parametrize("schedule", [Linear(), Edm()], ids=lambda s: s.name)
def test_edm_weighting_weighs_the_network_alike_at_every_level(schedule, target):
    process = Process(schedule, target, EdmPrecondition(), EdmWeighting(), 0.6)
    level = process.level(torch.linspace(0, 1, 50, dtype=torch.float64))
    c = process.precondition.coefficients(level, target, 0.6)
    assert torch.allclose(process.target_weight(level) * c.output**2, torch.ones(50, dtype=torch.float64), rtol=1e-9)


def test_min_snr_agrees_with_the_snr_of_diffusers():
    training = pytest.importorskip("diffusers.training_utils")
    scheduler = pytest.importorskip("diffusers").DDPMScheduler(beta_schedule="linear")
    process = make(MinSnr())
    steps = torch.arange(1000)
    scheduler.alphas_cumprod = process.schedule.alphas_bar(1000)  # the same table in float64: theirs is fp32
    theirs = training.compute_snr(scheduler, steps).double()
    ours = process.target_weight(process.level(steps.double() / 999))
    assert (ours - theirs.clamp(max=5) / theirs).abs().max() <= 1e-6
    assert (process.level(steps.double() / 999).snr / theirs - 1).abs().max() <= 1e-6


@pytest.mark.parametrize("target", TARGETS, ids=lambda y: y.name)
def test_mse_is_the_weighted_mean_over_an_image(target):
    process = make(MinSnr(), target, Cosine())
    b = process.diffuse(
        draw(3, 2, 4, 4), draw(3, 2, 4, 4, seed=1), process.level(torch.tensor([0.1, 0.5, 0.9]).double())
    )
    y = target.value(b.x0, b.noise, b.level)
    off = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1, 1)
    with_variance = torch.cat([y + off, 100 * torch.ones_like(y)], 1)
    expected = process.target_weight(b.level) * torch.tensor([1.0, 4.0, 9.0])
    for prediction in (y + off, with_variance, (y + off).float()):
        loss = Mse().compute(prediction, b, process)
        assert loss.dtype == torch.float32
        assert torch.allclose(loss.double(), expected, rtol=1e-5)
    assert Mse().compute(y, b, process).abs().max() == 0


@pytest.mark.parametrize("tau", [0, -1, float("nan"), float("inf")])
def test_a_bound_that_is_not_positive_is_refused(tau):
    with pytest.raises(ValidationError):
        MinSnr(tau=tau)
    with pytest.raises(ValidationError):
        MaxSnr(tau=tau)


def test_weights_that_would_be_negative_or_empty_are_refused():
    with pytest.raises(ValidationError):
        LogSnr(floor=0.0)
    with pytest.raises(ValidationError, match="must lie below"):
        ClippedSnr(low=5.0, high=1.0)


@pytest.mark.parametrize("bias", [-3.0, 0.0, 2.0])
def test_sigmoid_is_the_sigmoid_of_the_bias_less_log_snr_on_the_noise(bias):
    """Kingma & Gao 2023: sigmoid(b − log SNR) on the ε-error; Hoogeboom et al. 2024: e^b·sigmoid(log SNR − b) on x0."""
    for schedule in SCHEDULES:
        process = make(SigmoidWeighting(bias=bias), Epsilon(), schedule)
        level = process.level(torch.linspace(0.01, 0.99, 99, dtype=torch.float64))
        assert torch.allclose(process.target_weight(level), (bias - level.log_snr).sigmoid(), rtol=1e-9)
        on_x0 = math.exp(bias) * (level.log_snr - bias).sigmoid()
        assert torch.allclose(process.x0_weight(level), on_x0, rtol=1e-9)


@pytest.mark.parametrize("judged", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("predicted", TARGETS, ids=lambda target: target.name)
def test_by_target_is_the_mean_squared_error_of_the_other_target(predicted, judged):
    """What the network says is turned into the other target, and compared there."""
    for schedule in (Cosine(), RectifiedFlow()):
        process = make(ByTarget(target=judged, most=1e12), predicted, schedule)
        level = process.level(torch.linspace(0.1, 0.9, 9, dtype=torch.float64))
        x0, noise, error = draw(9, 1, 2, 2), draw(9, 1, 2, 2, seed=1), draw(9, 1, 2, 2, seed=2)
        noised = process.diffuse(x0, noise, level)
        prediction = predicted.value(x0, noise, level) + error
        found = process.denoised(prediction, noised.x, level)
        wanted = (judged.value(found.x0, found.noise, level) - judged.value(x0, noise, level)).square().mean((1, 2, 3))
        assert torch.allclose(Mse().compute(prediction, noised, process).double(), wanted, rtol=1e-4)


def test_x_prediction_with_the_v_loss_weighs_by_the_noise_and_not_without_bound():
    process = make(ByTarget(target=Flow()), Image(), RectifiedFlow())
    t = torch.tensor([0.0, 0.01, 0.05, 0.1, 0.5, 1.0], dtype=torch.float64)
    assert torch.allclose(process.x0_weight(process.level(t)), 1 / t.clamp(min=0.05) ** 2)
    with pytest.raises(ValidationError, match="leave 'apply' out"):
        ByTarget(target=Flow(), apply="native")
