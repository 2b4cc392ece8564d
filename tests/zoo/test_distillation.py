"""Progressive distillation against what two DDIM steps are: in closed form of Gaussian data, and by the solver."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from learners import SETTING, candidate, images, train
from torch import Tensor, nn

from ablate.api import Level, Noised, over
from ablate.candidates.candidate import cost_of, misfits
from ablate.errors import SpecError
from ablate.kinds.objective import Host
from ablate.runtime.randomness import RandomStreams
from ablate.training.building import new_network
from ablate.training.learner import Learner
from ablate.training.memory_estimate import footprint
from ablate.training.terms import StepModel
from ablate.training.training_cost import train_gflops

MEAN, DEVIATION = 0.3, 0.5  # of the data
CPU = torch.device("cpu")
STUDENT: dict[str, Any] = {"weighting": "max_snr", "target": "v", "schedule": "cosine"}
SCHEDULES = ["cosine", "rectified_flow", "linear"]  # the last has noise left at time 0


def student(steps: int = 1, **parts: Any) -> Any:
    return candidate(**{**STUDENT, "objective": {"type": "distill", "first": 8, "steps": steps}, **parts})


class Ideal(nn.Module):
    """E[x0 | x] of Gaussian data, plus an offset, as the prediction of a target."""

    def __init__(self, who: Any, offset: float = 0.0) -> None:
        super().__init__()
        self.process, self.offset = who.process(1.0), nn.Parameter(torch.tensor(offset, dtype=torch.float64))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        level = self.process.level((noise / 999).double()).guarded
        alpha, sigma = over(level.alpha, x), over(level.sigma, x)
        image = MEAN + alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2) * (x - alpha * MEAN) + self.offset
        return self.process.target.value(image, (x - alpha * image) / sigma, level)


def model_of(who: Any, network: nn.Module, teacher: nn.Module) -> StepModel:
    draws = RandomStreams(0, CPU)
    return StepModel(who, who.process(1.0), network, network, nullcontext, dict, draws, {}, teacher=teacher)


def batch(who: Any, t: Tensor) -> Noised:
    generator = torch.Generator().manual_seed(1)
    x0, noise = torch.randn(2, len(t), 1, 1, 1, generator=generator, dtype=torch.float64)
    return who.process(1.0).diffuse(MEAN + DEVIATION * x0, noise, who.process(1.0).level(t))


def clean(level: Level) -> Level:
    at = level.t == 0
    return Level(level.t, torch.where(at, 1.0, level.alpha), torch.where(at, 0.0, level.sigma))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("target", ["v", "x0", "flow"])
def test_the_students_step_is_two_of_an_ideal_teacher(schedule: str, target: str) -> None:
    """Of a Gaussian a step of DDIM keeps x − α·m but for a factor (α·α'·s² + σ·σ')/(α²·s² + σ²); two multiply."""
    steps = 4
    who = student(steps, schedule=schedule, target=target)
    term = who.objective.build(Host(SETTING, {}))
    place = torch.arange(1, steps + 1, dtype=torch.float64).repeat(5)
    level = who.process(1.0).level(place / steps)
    noised = batch(who, place / steps)
    wanted = term.wanted(noised.x, place, None, model_of(who, Ideal(who), Ideal(who)))
    half, end = (clean(who.process(1.0).level((place - d) / steps)) for d in (0.5, 1.0))
    factor = torch.ones_like(place)
    for a, b in ((level, half), (half, end)):
        variance = DEVIATION**2
        factor = factor * (a.alpha * b.alpha * variance + a.sigma * b.sigma) / (a.alpha**2 * variance + a.sigma**2)
    there = over(end.alpha, noised.x) * MEAN + over(factor, noised.x) * (noised.x - over(level.alpha, noised.x) * MEAN)
    led = over(end.alpha, noised.x) * wanted.x0 + over(end.sigma, noised.x) * wanted.noise
    torch.testing.assert_close(led, there, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(over(level.alpha, led) * wanted.x0 + over(level.sigma, led) * wanted.noise, noised.x)
    loss = term(noised, None, model_of(who, _Gives(who, wanted), Ideal(who)))["distill"]
    assert float(loss.detach().abs().max()) < 1e-8
    assert float(term(noised, None, model_of(who, Ideal(who), Ideal(who)))["distill"].detach().mean()) > 1e-4


class _Gives(nn.Module):
    """The prediction of an image and noise that are known."""

    def __init__(self, who: Any, wanted: Noised) -> None:
        super().__init__()
        self.prediction = who.target.value(wanted.x0, wanted.noise, wanted.level)

    def forward(self, *inputs: Any) -> Tensor:
        return self.prediction


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("weighting", ["max_snr", {"type": "uniform", "apply": "native"}])
def test_the_loss_is_the_weighted_error_of_the_image(schedule: str, weighting: Any) -> None:
    """w(level)·|x̃ − x̂|² (Salimans & Ho 2022, eq. 9): max(SNR, 1), or with v the weight SNR + 1."""
    who = student(2, schedule=schedule, weighting=weighting)
    term = who.objective.build(Host(SETTING, {}))
    place = torch.tensor([1.0, 2.0], dtype=torch.float64)
    level = who.process(1.0).level(place / 2).guarded
    noised = batch(who, place / 2)
    wanted = term.wanted(noised.x, place, None, model_of(who, Ideal(who), Ideal(who)))
    off = Noised(
        wanted.x0 + 0.1,
        (noised.x - over(level.alpha, noised.x) * (wanted.x0 + 0.1)) / over(level.sigma, noised.x),
        noised.x,
        level,
    )
    loss = term(noised, None, model_of(who, _Gives(who, off), Ideal(who)))["distill"].double()
    weight = (
        level.snr.clamp(min=1) if weighting == "max_snr" else (level.alpha**2 + level.sigma**2) ** 2 / level.sigma**2
    )
    torch.testing.assert_close(loss, 0.01 * weight, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2])
def test_the_teachers_steps_are_those_of_the_solver(schedule: str, steps: int) -> None:
    """From noise: what DDIM of twice the steps has after two is what the student's own first step has to lead to."""
    solver = {"type": "ddim", "steps": 2 * steps, "clip": False}
    who = student(steps, schedule=schedule, solver=solver)
    teacher = taught(who).teacher
    process = who.process(0.5)
    labels = torch.tensor([0, 1, 0])
    x = process.prior(torch.randn(3, *SETTING.shape, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        denoise = process.denoiser(teacher, who.guidance, labels, 2)
        states = list(who.solver.sample(denoise, x, who.schedule, torch.Generator()))
    term = who.objective.build(Host(SETTING, {}))
    model = StepModel(who, process, teacher, teacher, nullcontext, dict, RandomStreams(0, CPU), {}, teacher=teacher)
    wanted = term.wanted(x, torch.full((3,), float(steps), dtype=torch.float64), labels, model)
    end = clean(process.level(torch.full((3,), (steps - 1) / steps, dtype=torch.float64)))
    led = over(end.alpha, x) * wanted.x0 + over(end.sigma, x) * wanted.noise
    torch.testing.assert_close(led, states[1].x, rtol=1e-4, atol=1e-4)


def taught(who: Any, seed: int = 7) -> Learner:
    weights = new_network(who, SETTING, seed, CPU)
    with torch.no_grad():
        for p in weights.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)))
    return Learner(who, SETTING, images(), 0, CPU, None, weights.state_dict())


def test_a_student_starts_from_its_teacher_and_leaves_it_as_it_is() -> None:
    """Network and average; the teacher neither moves nor drops, and is no part of the checkpoint."""
    who = taught(
        student(4, backbone={"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "drop_path": 0.5})
    )
    before = {name: value.clone() for name, value in who.teacher.state_dict().items()}
    for weights in (who.network.state_dict(), next(iter(who.average.weights().values()))):
        assert all(torch.equal(value, before[name]) for name, value in weights.items())
    first = who.step(1000)
    assert first.terms == {} and float(first.loss) > 0
    train(who, 5)
    assert not who.teacher.training and not any(p.requires_grad for p in who.teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in who.teacher.state_dict().items())
    assert not all(torch.equal(value, before[name]) for name, value in who.network.state_dict().items())
    assert not [name for name in who.state({}).tensors if "teacher" in name]


def test_a_step_counts_the_teachers_passes_and_its_weights() -> None:
    plain, learns = (candidate(**STUDENT), student(4))
    more = train_gflops(learns, SETTING) - train_gflops(plain, SETTING)
    assert more == pytest.approx(2 * cost_of(plain.backbone, SETTING).macs / 1e9)
    one, other = (footprint(who, SETTING, "cpu") for who in (plain, learns))
    assert other.weights == 2 * one.weights


def test_steps_are_halved_from_the_first_on() -> None:
    """The chain of teachers, and what is none."""
    objective, chain = student(1).objective, []
    while objective is not None:
        chain.append(objective.steps)
        objective = objective.teacher()
    assert chain == [1, 2, 4, 8]
    with pytest.raises(SpecError, match="say first: 3"):
        student(3)
    with pytest.raises(SpecError, match="say first: 16"):
        student(16)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"target": "epsilon"}, "does not say what image it holds"),
        ({"target": "score"}, "does not say what image it holds"),
        ({"weighting": "min_snr"}, "use weighting 'max_snr'"),
        ({"weighting": "snr"}, "use weighting 'max_snr'"),
        ({"weighting": "sigmoid"}, "use weighting 'max_snr'"),
        ({"solver": {"type": "ddim", "grid": "karras"}}, "use grid 'trailing'"),
        ({"loss": "hybrid_vlb"}, "trains no variance"),
        ({"weighting": {"type": "uniform", "apply": "native"}}, None),
        ({"weighting": "uniform", "target": "x0"}, None),
        ({"weighting": "by_target", "target": "flow", "schedule": "rectified_flow"}, None),
        ({"weighting": "edm", "precondition": "edm"}, None),
    ],
)
def test_what_a_student_cannot_learn_is_refused(parts: dict[str, Any], words: str | None) -> None:
    """Where pure noise has no weight, or the prediction says nothing of the image there."""
    problems = misfits(student(1, **parts), None, SETTING, provided={"labels"})
    found = [problem.message for problem in problems if "distill" in problem.message]
    assert bool(found) == (words is not None) and (words is None or words in " ".join(found)), problems
