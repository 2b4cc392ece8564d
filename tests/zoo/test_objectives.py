"""Objectives of two times against what is known in closed form of Gaussian data."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from learners import SETTING, candidate, learner, train
from torch import Tensor, nn

from ablate.api import InputSpec, Level
from ablate.candidates.candidate import misfits
from ablate.discovery.catalog import catalog
from ablate.evaluation.sampling import Sampler
from ablate.kinds.noised import Noised
from ablate.kinds.objective import Host
from ablate.runtime.randomness import RandomStreams
from ablate.training.terms import StepModel

MEAN, DEVIATION = 0.3, 0.5  # of the data
CPU = torch.device("cpu")
NULL = 2  # the null class of two
FLOW = {"schedule": "rectified_flow", "target": "flow", "objective": "mean_flow"}
SECOND = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "second_label": True}


def spread(t: Tensor) -> Tensor:
    """The deviation of x at t under rectified flow."""
    return (((1 - t) * DEVIATION) ** 2 + t**2).sqrt()


def at(x: Tensor, t: Tensor, r: Tensor) -> Tensor:
    """Where the path of the probability flow from (x, t) is at r: it keeps (x − mean)/deviation."""
    return (1 - r) * MEAN + spread(r) / spread(t) * (x - (1 - t) * MEAN)


def velocity(x: Tensor, t: Tensor) -> Tensor:
    """E[ε − x0 | x], the slope of that path."""
    rest = (x - (1 - t) * MEAN) / spread(t) ** 2
    return t * rest - MEAN - (1 - t) * DEVIATION**2 * rest


class Exact(nn.Module):
    """A network that gives a closed form of (x, t, r), plus an offset that can be trained; labels are 999·t."""

    def __init__(self, form: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.form = form
        self.offset = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None, second: Tensor | None = None) -> Tensor:
        t, r = ((one / 999).reshape(-1, 1, 1, 1) for one in (noise, noise if second is None else second))
        return self.form(x, t, r) + self.offset


def mean_velocity(x: Tensor, t: Tensor, r: Tensor) -> Tensor:
    apart = (t - r).abs() > 1e-9
    return torch.where(apart, (x - at(x, t, r)) / torch.where(apart, t - r, torch.ones_like(t)), velocity(x, t))


def model_of(network: nn.Module, progress: float = 0.0, **parts: Any) -> StepModel:
    who = candidate(**{**FLOW, "backbone": SECOND, **parts})
    process = who.process(1.0)
    averaged = {name: p.detach() + 1 for name, p in network.named_parameters()}
    draws = RandomStreams(0, CPU)
    return StepModel(who, process, network, network, nullcontext, lambda: averaged, draws, {}, progress, null=NULL)


def batch(model: StepModel, count: int) -> Noised:
    generator = torch.Generator().manual_seed(1)
    x0, noise = torch.randn(2, count, 1, 1, 1, generator=generator, dtype=torch.float64)
    t = torch.rand(count, generator=generator, dtype=torch.float64)
    return model.process.diffuse(MEAN + DEVIATION * x0, noise, model.process.level(t))


def test_mean_velocities_of_a_gaussian_fulfil_the_identity() -> None:
    """u = v − (t − r)·du/dt (Geng et al. 2025, eq. 6), du/dt as the objective takes it; and by finite differences."""
    model = model_of(Exact(mean_velocity))
    noised = batch(model, 50)
    t, r = noised.level.t, noised.level.t * torch.linspace(0, 0.9, 50, dtype=torch.float64)
    wide = [one.reshape(-1, 1, 1, 1) for one in (t, r)]
    along = velocity(noised.x, wide[0])
    u, slope = model.derivative(noised.x, t, None, along, model.process.level(r))
    torch.testing.assert_close(u, mean_velocity(noised.x, *wide))
    torch.testing.assert_close(u, along - (wide[0] - wide[1]) * slope)
    step = 1e-5
    ahead, behind = (mean_velocity(noised.x + h * along, wide[0] + h, wide[1]) for h in (step, -step))
    torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("network", ["dit", "uvit", "unet"])
def test_the_derivative_of_a_network_is_that_of_finite_differences(network: str) -> None:
    small = {"dit": {**SECOND, "positions": "rope", "qk_norm": "rms"}, "uvit": {**SECOND, "type": "uvit", "depth": 3}}
    unet = {"type": "unet", "width": 8, "multipliers": [1, 2], "attention_resolutions": [4], "second_label": True}
    torch.manual_seed(0)
    made = candidate(**{**FLOW, "backbone": small.get(network, unet)}).backbone.build(SETTING).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))
    model = model_of(made, precondition="edm")
    x, along = torch.randn(2, 3, *SETTING.shape, dtype=torch.float64)
    t, r = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64), torch.tensor([0.1, 0.2, 0.9], dtype=torch.float64)
    labels, level = torch.tensor([0, 1, 2]), model.process.level
    value, slope = model.derivative(x, t, labels, along, level(r))
    assert not slope.requires_grad
    torch.testing.assert_close(value, model.detached(x, level(t), labels, level(r)), rtol=1e-4, atol=1e-5)
    ahead, behind = (model.detached(x + h * along, level(t + h), labels, level(r)) for h in (1e-3, -1e-3))
    # embeddings are computed in fp32, whatever the weights are in
    torch.testing.assert_close(slope, (ahead - behind) / 2e-3, rtol=2e-2, atol=2e-2 * float(slope.abs().max()))


def gradient(part: Any, network: Exact, progress: float = 0.0, **parts: Any) -> tuple[float, float]:
    """The gradient of the offset over many images, and its standard error."""
    model = model_of(network, progress, **parts)
    term = part.build(Host(SETTING, {}))
    noised = batch(model, 40_000)
    (values,) = term(noised, None, model).values()
    (slope,) = torch.autograd.grad(values.double().mean(), network.offset)
    return float(slope), math.sqrt(4 / 40_000)


def test_the_exact_mean_velocity_is_where_mean_flow_rests() -> None:
    """On average over images and noise; a network of instantaneous velocities does not rest there."""
    objective = candidate(**FLOW, backbone=SECOND).objective.model_copy(update={"power": 0.0, "apart": 1.0})
    slope, error = gradient(objective, Exact(mean_velocity))
    assert abs(slope) < 5 * error
    moving, _ = gradient(objective, Exact(lambda x, t, r: mean_velocity(x, t, r) + 0.2))
    assert moving == pytest.approx(0.4, abs=0.1)


CENTRES = torch.tensor([-0.8, 0.8], dtype=torch.float64)  # of two classes; without the class, of both alike
OMEGA, KAPPA = 1.5, 0.4


class OfClasses(nn.Module):
    """The guided velocity of two classes of one deviation each, at the scale of `guidance`, plus an offset."""

    def __init__(self, guidance: float) -> None:
        super().__init__()
        self.guidance = guidance
        self.offset = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None, second: Tensor | None = None) -> Tensor:
        assert labels is not None
        t = (noise / 999).reshape(-1, 1, 1, 1)
        of = [velocity(x - (1 - t) * (c - MEAN), t) - (c - MEAN) for c in CENTRES]  # x0 moved by c − MEAN
        log = [-(((x - (1 - t) * c) / spread(t)) ** 2) / 2 for c in CENTRES]
        first = torch.sigmoid(log[0] - log[1])  # p(class 0 | x)
        null = first * of[0] + (1 - first) * of[1]
        own = torch.where((labels == 0).reshape(-1, 1, 1, 1), of[0], of[1])
        guided = null + self.guidance * (own - null)
        return torch.where((labels == NULL).reshape(-1, 1, 1, 1), null, guided) + self.offset


def guided(at: float, count: int, **objective: Any) -> tuple[OfClasses, Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """A network guided so, labels of a batch, the sign of each class, and the loss of the batch with some labels."""
    parts = {"objective": {"type": "mean_flow", "apart": 0.0, "power": 0.0, **objective}}
    term = candidate(**{**FLOW, "backbone": SECOND, **parts}).objective.build(Host(SETTING, {}))
    network = OfClasses(at)
    model = model_of(network, **parts)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (count,), generator=generator)
    x0, noise = torch.randn(2, count, 1, 1, 1, generator=generator, dtype=torch.float64)
    t = torch.rand(count, generator=generator, dtype=torch.float64)
    images = CENTRES[labels].reshape(-1, 1, 1, 1) + DEVIATION * x0
    noised = model.process.diffuse(images, noise, model.process.level(t))

    def loss(seen: Tensor) -> Tensor:
        torch.manual_seed(0)  # of the second times
        values: Tensor = term(noised, seen, model)["mean_flow"]
        return values

    return network, labels, CENTRES[labels].sign(), loss


def test_guided_velocities_are_where_guided_mean_flow_rests() -> None:
    """Those of the scale ω/(1 − κ), at r = t (Geng et al. 2025, eq. 21)."""
    slopes = []
    for scale in (OMEGA / (1 - KAPPA), OMEGA):
        network, labels, sign, loss = guided(scale, 80_000, scale=OMEGA, kappa=KAPPA)
        (slope,) = torch.autograd.grad((sign * loss(labels)).mean(), network.offset)  # guidance lies along the classes
        slopes.append(abs(float(slope)))
    error = math.sqrt(4 / 80_000)
    assert slopes[0] < 5 * error and slopes[1] > 20 * error


def test_velocities_without_the_class_are_not_guided() -> None:
    _, labels, _, loss = guided(OMEGA, 50, scale=OMEGA, kappa=KAPPA)
    _, _, _, plain = guided(OMEGA, 50)
    some = torch.where(torch.arange(50) % 2 == 0, NULL, labels)
    equal = loss(some) == plain(some)
    assert torch.equal(equal, some == NULL)


def test_guidance_within_training_drops_labels_and_is_refused_without_any() -> None:
    """The batch has dropped labels as with guidance in sampling; without guidance nothing is dropped or hashed."""
    parts = {**FLOW, "backbone": SECOND, "batch": 64}
    guided = {"type": "mean_flow", "scale": 2.0, "kappa": 0.5, "drop": 0.5}
    assert 0.2 < float((learner(**{**parts, "objective": guided}).batch()[1] == NULL).double().mean()) < 0.8
    plain = learner(**{**parts, "objective": {"type": "mean_flow", "drop": 0.5}})
    assert not (plain.batch()[1] == NULL).any()
    assert not {"scale", "kappa", "drop"} & candidate(**parts).objective.active().keys()
    nobody = InputSpec(SETTING.shape, None)
    problems = misfits(candidate(**{**parts, "objective": guided}), None, nobody)
    assert ["the data need labels, or conditions" in p.message for p in problems] == [True]
    train(learner(**{**parts, "objective": guided}), 2)


def test_adaptive_weights_divide_by_the_error_itself() -> None:
    """At power 1 the value is error/(error + floor), at power 0 the squared error (Geng et al. 2025, section 4.3)."""
    objective = candidate(**FLOW, backbone=SECOND).objective
    values = {}
    for power in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        model = model_of(Exact(mean_velocity))
        term = objective.model_copy(update={"power": power}).build(Host(SETTING, {}))
        values[power] = term(batch(model, 20), None, model)["mean_flow"].detach()
    error = values[0.0]
    assert (error > 0).all()
    for power in (0.5, 1.0):
        torch.testing.assert_close(values[power], error / (error + objective.floor) ** power)


def test_times_are_two_draws_of_the_levels_in_order() -> None:
    who = learner(**{**FLOW, "backbone": SECOND, "batch": 64, "objective": {"type": "mean_flow", "apart": 0.25}})
    seen: list[tuple[Level, Level]] = []
    module = who.terms.objective
    plain = module.times
    module.times = lambda noised, model: seen.append(plain(noised, model)) or seen[-1]
    train(who, 8)
    t, r = (torch.cat([one[i].t for one in seen]) for i in (0, 1))
    assert (r <= t).all() and 0.15 < float((r < t).double().mean()) < 0.35


def consistent(x: Tensor, t: Tensor, r: Tensor) -> Tensor:
    """The velocity whose image, x − t·y, is where the path of (x, t) ends."""
    return (x - at(x, t, torch.zeros_like(t))) / t.clamp(min=1e-6)


def test_the_exact_consistency_function_is_where_consistency_training_rests() -> None:
    """Of a factor of its spread: a denoiser, which gives the mean of the images, is led to more of it."""
    parts = {"objective": {"type": "consistency", "first": 200, "last": 200, "distance": "squared"}}
    objective = candidate(**{**FLOW, **parts}).objective

    class Scaled(Exact):
        def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None, second: Tensor | None = None) -> Tensor:
            t = (noise / 999).reshape(-1, 1, 1, 1)
            image = x - t * self.form(x, t, t)
            return (x - MEAN - (1 + self.offset) * (image - MEAN)) / t.clamp(min=1e-6)

    right, _ = gradient(objective, Scaled(consistent), **parts)
    wrong, _ = gradient(objective, Scaled(lambda x, t, r: velocity(x, t)), **parts)
    assert wrong < -5e-4 and abs(right) < 0.1 * abs(wrong)  # of the order of Δt², and of Δt


def test_the_grid_of_consistency_training_doubles() -> None:
    objective = candidate(objective={"type": "consistency", "first": 10, "last": 80}).objective
    term = objective.build(Host(SETTING, {}))
    assert [term.count(share) for share in (0.0, 0.24, 0.25, 0.5, 0.76, 1.0)] == [10, 10, 20, 40, 80, 80]
    assert term.count(0.999) == 80


def test_teachers_of_consistency_are_the_weights_as_they_are_or_averaged() -> None:
    offsets = {}
    for teacher in ("online", "averaged"):
        parts = {"objective": {"type": "consistency", "teacher": teacher, "distance": "squared"}}
        who = candidate(**{**FLOW, **parts}).objective.build(Host(SETTING, {}))
        model = model_of(Exact(consistent), **parts)
        offsets[teacher] = who(batch(model, 10), None, model)["consistency"].detach()
    assert not torch.allclose(offsets["online"], offsets["averaged"])  # the average here is off by one


@pytest.mark.parametrize("steps", [1, 3])
def test_a_solver_jumps_along_the_exact_path(steps: int) -> None:
    """From noise to data in any number of steps, through the process: x_r = x_t − (t − r)·u."""
    who = candidate(**FLOW, backbone=SECOND, solver={"type": "flow_map", "steps": steps, "clip": False})
    denoise = who.process(1.0).denoiser(Exact(mean_velocity), who.guidance, None, 0)
    noise = torch.randn(50, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    states = list(who.solver.sample(denoise, noise, who.schedule, torch.Generator()))
    torch.testing.assert_close(states[-1].x, MEAN + DEVIATION * noise, rtol=1e-4, atol=1e-4)
    assert states[-1].nfe == steps


def test_other_networks_are_sampled_as_by_ddim() -> None:
    """They know one level alone, and are not told where a step leads, though they could hear it."""
    samples = {}
    for solver in ({"type": "flow_map", "steps": 4}, {"type": "ddim", "steps": 4}):
        who = train(learner(schedule="cosine", target="v", backbone=SECOND, solver=solver), 2)
        ((samples[solver["type"]], _),) = Sampler(who.candidate, who.process, SETTING, 0, CPU).batches(
            who.network, {}, 4, 4
        )
    assert torch.equal(samples["flow_map"], samples["ddim"])


def test_trained_networks_are_sampled_with_their_second_label() -> None:
    """Through the sampler, with guidance."""
    guidance = {"type": "cfg", "scale": 1.5, "drop": 0.2}
    who = train(learner(**FLOW, backbone=SECOND, solver={"type": "flow_map", "steps": 2}, guidance=guidance), 2)
    sampler = Sampler(who.candidate, who.process, SETTING, 0, CPU)
    ((images, nfe),) = sampler.batches(who.network, {}, 4, 4)
    assert images.shape == (4, *SETTING.shape) and nfe == 2


def test_a_network_without_a_second_label_says_so() -> None:
    made = catalog().create("backbone", {**SECOND, "second_label": False}).build(SETTING)
    x, noise = torch.zeros(2, *SETTING.shape), torch.zeros(2)
    with pytest.raises(TypeError, match="second_label: true"):
        made(x, noise, None, noise)
