"""The classifier of classifier guidance: trained beside the network, and followed when samples are drawn."""

import math

import pytest
import torch
from learners import CPU, SETTING, learner, same, train
from pydantic import ValidationError

from ablate.api import Denoised, InputSpec, Process
from ablate.evaluation.sampling import Sampler
from ablate_zoo.guidance._noisy_classifier import NoisyClassifier
from ablate_zoo.guidance.cfg import Cfg
from ablate_zoo.guidance.classifier import Classifier
from ablate_zoo.guidance.none import NoGuidance
from ablate_zoo.precondition.none import NoPrecondition
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.edm import Edm
from ablate_zoo.schedule.rectified_flow import RectifiedFlow
from ablate_zoo.solver.ddim import Ddim
from ablate_zoo.solver.ddpm import Ddpm
from ablate_zoo.solver.dpmpp_2m import Dpmpp2m
from ablate_zoo.target.epsilon import Epsilon
from ablate_zoo.target.v import Velocity
from ablate_zoo.weighting.edm import EdmWeighting

CENTRE, SPREAD = 0.5, 0.2  # two classes, N(−CENTRE, SPREAD²) and N(CENTRE, SPREAD²)
SIGMA_DATA = math.hypot(CENTRE, SPREAD)


def test_the_classifier_leaves_the_network_alone_and_learns():
    with_it, without = train(learner(guidance={"type": "classifier", "lr": 5e-3}), 80), train(learner(), 80)
    assert same(with_it.network.state_dict(), without.network.state_dict())
    assert float(with_it.companion.recent_loss) < 0.8 * math.log(2)  # half of the levels say next to nothing
    assert without.companion is None
    clean = with_it.data.take(torch.arange(64))
    level = with_it.process.level(torch.full((64,), 0.05, dtype=torch.float64))
    noised = with_it.process.diffuse(clean, torch.zeros_like(clean), level)
    with torch.no_grad():
        logits = with_it.companion.network(*with_it.process.shown(noised.x, level))
    assert (logits.argmax(1) == with_it.data.labels).float().mean() >= 0.9


def test_micro_batches_train_the_same_classifier():
    whole, parts = train(learner(guidance="classifier"), 4), train(learner(micro=3, guidance="classifier"), 4)
    a, b = whole.companion.network.state_dict(), parts.companion.network.state_dict()
    assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)


def two_classes(x, alpha, sigma):
    """log p(x | class) for both, (B, 2), with x of one number."""
    variance = (alpha * SPREAD) ** 2 + sigma**2
    means = alpha * torch.tensor([-CENTRE, CENTRE], dtype=x.dtype)
    return -((x.flatten(1) - means) ** 2) / (2 * variance)


def exact_classifier(x, noise):
    """The logits of a perfect classifier, from what a companion is shown."""
    log_snr = -8 * noise[0].double()
    alpha, sigma = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()
    return two_classes(x * ((alpha * SIGMA_DATA) ** 2 + sigma**2).sqrt(), alpha, sigma)


def both_classes(x, noise, labels):
    """The optimal ε for both classes together: what a network without labels would have learned."""
    t = noise[0].double() / 999
    alpha, sigma = Linear().alpha(t), Linear().sigma(t)
    share = two_classes(x, alpha, sigma).softmax(1)  # (B, 2)
    gain = alpha * SPREAD**2 / ((alpha * SPREAD) ** 2 + sigma**2)
    centres = torch.tensor([-CENTRE, CENTRE], dtype=x.dtype)
    x0 = (share * (centres + gain * (x.flatten(1) - alpha * centres))).sum(1).reshape(x.shape)
    return (x - alpha * x0) / sigma


@pytest.mark.parametrize("solver", [Ddim(steps=200, clip=False), Ddpm(steps=300, clip=False)], ids=lambda s: s.name)
def test_an_exact_classifier_turns_all_classes_into_one(solver):
    """Bayes: the score of everything plus the gradient of log p(class | x) is the score of the class."""
    process = Process(Linear(), Epsilon(), NoPrecondition(), EdmWeighting(), SIGMA_DATA)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, 1, 1, generator=generator, dtype=torch.float64)
    labels = torch.arange(4000) % 2
    with torch.inference_mode():
        denoise = process.denoiser(both_classes, Classifier(scale=1.0), labels.clone(), 2, exact_classifier)
        *_, last = solver.sample(denoise, process.prior(x), process.schedule, generator)
        plain = process.denoiser(both_classes, NoGuidance(), labels.clone(), 2)
        *_, unguided = solver.sample(plain, process.prior(x), process.schedule, generator)
    for label, centre in enumerate((-CENTRE, CENTRE)):
        of_class = last.x[labels == label]
        assert float(of_class.mean()) == pytest.approx(centre, abs=0.03)
        assert float(of_class.std()) == pytest.approx(SPREAD, abs=0.03)
        assert float(unguided.x[labels == label].mean()) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_noise_and_image_move_together(scale):
    process = Process(Linear(), Epsilon(), NoPrecondition(), EdmWeighting(), SIGMA_DATA)
    level = process.level(torch.tensor(0.6, dtype=torch.float64))
    x, labels = torch.randn(6, 1, 1, 1, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 0, 1])
    noise = torch.randn_like(x)
    found = Denoised((x - level.sigma * noise) / level.alpha, noise)
    with torch.inference_mode():
        shifted = Classifier(scale=scale).shift(
            lambda at: two_classes(at, level.alpha, level.sigma), found, x.clone(), labels.clone(), level
        )
    assert torch.allclose(level.alpha * shifted.x0 + level.sigma * shifted.noise, x)
    at = x.clone().requires_grad_()
    log_p = two_classes(at, level.alpha, level.sigma).log_softmax(1)[torch.arange(6), labels]
    (gradient,) = torch.autograd.grad(log_p.sum(), at)
    assert torch.allclose(shifted.noise, noise - scale * level.sigma * gradient)
    assert (not scale) == torch.equal(shifted.noise, noise)


def test_an_interval_limits_the_classifier():
    guidance = Classifier(scale=2.0, sigma_low=0.2, sigma_high=5.0)
    process = Process(Linear(), Epsilon(), NoPrecondition(), EdmWeighting(), SIGMA_DATA)
    x, asked = torch.randn(2, 1, 1, 1), []

    def judge(at):
        asked.append(at)
        return two_classes(at, 0.7, 0.7)

    for t in (0.05, 0.4, 0.95):
        level = process.level(torch.tensor(t, dtype=torch.float64))
        guidance.shift(judge, Denoised(x, x), x, torch.tensor([0, 1]), level)
    assert len(asked) == 1
    assert guidance.describe() == "classifier(2, 0.2-5)"
    assert Classifier().describe() == "classifier(1)"
    with pytest.raises(ValidationError, match="must lie below"):
        Classifier(sigma_low=2.0, sigma_high=1.0)


def test_what_a_companion_is_shown_has_unit_variance():
    for schedule in (Linear(), Edm(), RectifiedFlow()):
        process = Process(schedule, Velocity(), NoPrecondition(), EdmWeighting(), 0.6)
        t = torch.tensor([0.02, 0.4, 0.9], dtype=torch.float64)
        level = process.level(t)
        x = torch.ones(3, 1, 2, 2, dtype=torch.float64)
        scaled, label = process.shown(x, level)
        variance = (level.alpha * 0.6) ** 2 + level.sigma**2
        assert torch.allclose(scaled[:, 0, 0, 0] ** 2 * variance, torch.ones(3, dtype=torch.float64))
        assert torch.allclose(label, (level.sigma / level.alpha).log() / 4)
        for i in range(3):  # in sampling the level is one number
            one = process.shown(x[:1], process.level(t[i]))
            assert torch.allclose(one[0], scaled[i : i + 1])
            assert torch.allclose(one[1], label[i : i + 1])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (4, 5, 7), (1, 2, 2)], ids=str)
def test_the_classifier_takes_any_shape_and_starts_undecided(shape):
    network = Classifier(width=16).companion(InputSpec(shape, 5))
    assert isinstance(network, NoisyClassifier)
    logits = network(torch.randn(3, *shape), torch.zeros(3))
    assert logits.shape == (3, 5)
    assert (logits == 0).all()
    Classifier().loss(logits, torch.tensor([0, 1, 4])).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "heun"])
def test_samples_are_drawn_under_guidance(solver):
    who = train(learner(guidance={"type": "classifier", "scale": 3.0}, solver={"type": solver, "steps": 4}), 3)
    weights = who.average.weights()
    label, first = next(iter(weights.items()))
    drawn = []
    for companion in (who.companion_network, None):
        sampler = Sampler(who.candidate, who.process, SETTING, 0, CPU, companion)
        drawn += [pixels for pixels, _ in sampler.batches(who.network, first, 6, 4)][:1]
    assert label
    assert drawn[0].shape == (4, 1, 8, 8)
    assert not torch.equal(drawn[0], drawn[1])
    assert all(p.grad is None for p in who.companion.network.parameters())


def test_no_step_under_a_classifier_reads_a_value_back_from_the_device():
    process = Process(Linear(), Velocity(), NoPrecondition(), EdmWeighting(), 0.5)
    x, labels = torch.empty(2, 1, 8, 8, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")
    with torch.device("meta"):
        companion = Classifier().companion(SETTING)
    denoise = process.denoiser(lambda x, noise, labels: x, Classifier(sigma_high=10.0), labels, 2, companion)
    *_, last = Dpmpp2m(steps=4).sample(denoise, x, process.schedule, torch.Generator())
    assert last.x.shape == x.shape


def test_what_it_requires_and_where_it_cannot_run():
    assert set(Classifier().requires()) == {"labels"}
    assert Classifier().drop_rate() == 0
    assert "cfg" in Classifier().excludes()["zero_terminal_snr"]
    assert not Classifier(sigma_high=20.0).excludes()
    with pytest.raises(ValueError, match="labels"):
        Classifier().loss(torch.zeros(1, 2), None)
    with pytest.raises(ValueError, match="labels"):
        Classifier().shift(lambda x: x, Denoised(torch.zeros(1), torch.zeros(1)), torch.zeros(1), None, None)
    found = Denoised(torch.zeros(1), torch.zeros(1))
    assert Cfg().shift(lambda x: x, found, torch.zeros(1), None, None) is found
