"""What is trained beside the network: EDM2's log-variance, and whoever brings a module of its own."""

import math

import pytest
import torch
from learners import SETTING, candidate, images, learner, same, train

from ablate.api import Process, TrainedGuidance
from ablate.discovery.catalog import catalog
from ablate_zoo.precondition.none import NoPrecondition
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.edm import Edm
from ablate_zoo.schedule.rectified_flow import RectifiedFlow
from ablate_zoo.target.epsilon import Epsilon
from ablate_zoo.target.v import Velocity
from ablate_zoo.weighting.edm import Edm2Weighting, EdmWeighting

# --- the learned log-variance -------------------------------------------------------------------


def test_before_training_edm2_is_edm():
    plain, learned = learner(weighting="edm"), learner(weighting="edm2")
    assert same(plain.network.state_dict(), learned.network.state_dict())
    level = plain.process.level(torch.linspace(0, 1, 9, dtype=torch.float64))
    assert torch.allclose(learned.process.x0_weight(level), plain.process.x0_weight(level))
    assert torch.allclose(learned.process.target_weight(level), plain.process.target_weight(level))
    assert torch.equal(plain.step(1000).loss, learned.step(1000).loss)
    assert plain.process.log_variance(level) is None


def test_the_log_variance_settles_at_the_log_of_the_weighted_error():
    u = Edm2Weighting().build()
    process = Process(Edm(), Velocity(), NoPrecondition(), Edm2Weighting(), 0.5, u)
    optimizer = torch.optim.Adam(u.parameters(), lr=0.03)
    generator = torch.Generator().manual_seed(0)

    def error(level):  # of x0; any smooth function of the level
        return 0.1 * level.sigma.clamp(max=2) + 0.02

    for _ in range(1500):
        level = process.level(torch.rand(256, generator=generator, dtype=torch.float64))
        noise = torch.randn(256, generator=generator, dtype=torch.float64).square()
        loss = process.x0_weight(level) * error(level) * noise + process.log_variance(level)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    level = process.level(torch.linspace(0.05, 0.95, 50, dtype=torch.float64))
    with torch.no_grad():
        contribution = process.x0_weight(level) * error(level)  # one at every level, if u is right
    assert contribution.log().abs().max() <= 0.35
    assert (EdmWeighting().weight(level, 0.5) * error(level)).log().abs().max() > 3  # as it was before


def test_the_weight_and_its_penalty_reach_the_log_variance_alone():
    who = learner(weighting="edm2")
    noised, labels = who.batch()
    who.loss(noised, labels).mean().backward()
    u = who.uncertainty.weight
    assert u.grad.isfinite().all()
    assert u.grad.abs().max() > 0
    plain = learner(weighting="edm")
    plain.loss(noised, labels).mean().backward()
    ours = {name: p.grad for name, p in who.network.named_parameters()}
    theirs = {name: p.grad for name, p in plain.network.named_parameters()}
    assert all(torch.allclose(ours[name], theirs[name]) for name in ours)  # u is zero as yet
    assert sum(p.numel() for p in who.parameters) == sum(p.numel() for p in plain.parameters) + 128


@pytest.mark.parametrize("apply", ["x0", "native"])
def test_a_learned_weight_is_part_of_both_weights(apply):
    process = Process(Linear(), Epsilon(), NoPrecondition(), Edm2Weighting(apply=apply), 0.5, lambda c: c * 0 + 1.5)
    plain = Process(Linear(), Epsilon(), NoPrecondition(), EdmWeighting(apply=apply), 0.5)
    level = plain.level(torch.linspace(0, 1, 9, dtype=torch.float64))
    shrunk = math.exp(-1.5)
    assert torch.allclose(process.x0_weight(level), shrunk * plain.x0_weight(level))
    assert torch.allclose(process.target_weight(level), shrunk * plain.target_weight(level))


@pytest.mark.parametrize("parts", [{"weighting": "edm2"}, {"guidance": "classifier"}], ids=str)
def test_a_resumed_training_is_the_uninterrupted_one(parts):
    through = train(learner(**parts), 6)
    first = train(learner(**parts), 3)
    again = learner(**parts)
    again.load(first.state({}))
    train(again, 3)
    mine, theirs = again.state({}), through.state({})
    assert same(mine.tensors, theirs.tensors)
    assert {name.partition(".")[0] for name in mine.tensors} >= (
        {"companion"} if "guidance" in parts else {"uncertainty"}
    )
    assert mine.facts == theirs.facts


# --- whoever brings them ------------------------------------------------------------------------


LEARNED = [c for e in catalog().entries("weighting") if (c := catalog().create("weighting", e.full_name)).build()]
TRAINED = [
    c
    for e in catalog().entries("guidance")
    if isinstance(c := catalog().create("guidance", e.full_name), TrainedGuidance)
]


@pytest.mark.parametrize("weighting", LEARNED, ids=lambda w: w.name)
def test_every_learned_weighting_gives_one_finite_number_a_level(weighting):
    torch.manual_seed(0)
    u = weighting.build()
    for schedule in (Linear(), Linear(zero_terminal_snr=True), Edm(), RectifiedFlow()):
        process = Process(schedule, Velocity(), NoPrecondition(), weighting, 0.5, u)
        level = process.level(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
        loss = process.target_weight(level) * 0.1 + process.log_variance(level)
        assert loss.shape == (3,)
        assert loss.isfinite().all()
        loss.sum().backward()
        assert all(p.grad.isfinite().all() for p in u.parameters() if p.grad is not None)
        assert process.x0_weight(process.level(level.t[1])).ndim == 0


@pytest.mark.parametrize("guidance", TRAINED, ids=lambda g: g.name)
def test_every_companion_learns_from_both_ends_and_starts_alike_from_one_seed(guidance):
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        made.append(guidance.companion(SETTING))
    assert same(made[0].state_dict(), made[1].state_dict())
    process = Process(Linear(), Velocity(), NoPrecondition(), EdmWeighting(), 0.5)
    x0, noise = torch.randn(2, 4, 1, 8, 8)
    b = process.diffuse(x0, noise, process.level(torch.tensor([0.0, 0.1, 0.9, 1.0], dtype=torch.float64)))
    labels = torch.tensor([0, 1, 0, 1])
    optimizer = guidance.optimizer(made[0].parameters())
    losses = []
    for _ in range(20):
        loss = guidance.loss(made[0](*process.shown(b.x, b.level)), labels)
        assert loss.shape == (4,)
        assert loss.dtype == torch.float32
        losses.append(float(loss.detach().mean()))
        optimizer.zero_grad()
        loss.mean().backward()
        assert all(p.grad.isfinite().all() for p in made[0].parameters())
        optimizer.step()
    assert losses[-1] < losses[0]


def test_the_zoo_brings_one_of_each():
    assert "edm2" in {w.name for w in LEARNED}
    assert "classifier" in {g.name for g in TRAINED}


def test_a_given_deviation_takes_the_place_of_the_measured_one():
    assert learner().process.sigma_data == images().sigma_data
    assert learner(sigma_data=0.25).process.sigma_data == 0.25
    assert candidate(sigma_data=0.25).digest() != candidate().digest()
