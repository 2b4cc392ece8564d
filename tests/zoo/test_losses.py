"""The hybrid loss: the bound against torch's own distributions, and which output it trains."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ablate.api import Process, posterior
from ablate_zoo.loss.hybrid_vlb import HybridVlb, log_likelihood, step_bound
from ablate_zoo.loss.mse import Mse
from ablate_zoo.precondition.none import NoPrecondition
from ablate_zoo.schedule.beta import Linear
from ablate_zoo.schedule.cosine import Cosine
from ablate_zoo.target.epsilon import Epsilon
from ablate_zoo.target.v import Velocity
from ablate_zoo.weighting.uniform import UniformWeighting


def make(schedule=None, target=None) -> Process:
    return Process(schedule or Linear(), target or Velocity(), NoPrecondition(), UniformWeighting(), 0.6)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(process, steps):
    t = torch.tensor(steps, dtype=torch.float64) / 999
    x0 = (draw(len(t), 1, 4, 4) * 0.4).clamp(-1, 1)
    return process.diffuse(x0, draw(len(t), 1, 4, 4, seed=1), process.level(t))


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Linear(zero_terminal_snr=True)], ids=repr)
def test_the_bound_is_the_divergence_from_the_true_step(schedule):
    process, steps = make(schedule), [1, 2, 100, 500, 998, 999]
    b = batch(process, steps)
    mean = process.target.value(b.x0, b.noise, b.level) + 0.1 * draw(6, 1, 4, 4, seed=2)
    raw = draw(6, 1, 4, 4, seed=3).clamp(-1, 1)
    found = step_bound(mean, raw, b, process)
    table = torch.cat([torch.ones(1, dtype=torch.float64), schedule.alphas_bar(1000)])
    for i, step in enumerate(steps):  # DDPM's own formulas, from β and ᾱ
        before, now = table[step], table[step + 1]
        beta = 1 - now / before
        small = beta * (1 - before) / (1 - now)
        on_x0, on_x = before.sqrt() * beta / (1 - now), (1 - beta).sqrt() * (1 - before) / (1 - now)
        predicted = process.denoised(mean, b.x, b.level).x0[i]
        share = (raw[i] + 1) / 2
        deviation = (0.5 * (share * beta.log() + (1 - share) * small.log())).exp()
        q = Normal(on_x0 * b.x0[i] + on_x * b.x[i], small.sqrt())
        p = Normal(on_x0 * predicted + on_x * b.x[i], deviation)
        assert torch.allclose(found[i].double(), kl_divergence(q, p) / math.log(2), rtol=1e-3, atol=1e-6)


def test_a_perfect_model_is_bound_by_zero():
    process = make()
    b = batch(process, [1, 300, 999])
    y = process.target.value(b.x0, b.noise, b.level)
    assert step_bound(y, -torch.ones_like(y), b, process).abs().max() <= 1e-5
    assert (step_bound(y, torch.zeros_like(y), b, process) > 0).any()


def test_the_first_step_is_the_likelihood_of_eight_bits():
    values = torch.arange(256).float() / 127.5 - 1
    mean, log_variance = torch.tensor(0.1), torch.tensor(-3.0)
    total = log_likelihood(values, mean.expand(256), log_variance.expand(256)).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-4)  # all values together are certain
    process = make()
    b = batch(process, [0])
    y = process.target.value(b.x0, b.noise, b.level)
    assert (step_bound(y, torch.zeros_like(y), b, process) > 0).all()


@pytest.mark.parametrize("target", [Epsilon(), Velocity()], ids=lambda y: y.name)
def test_the_bound_trains_the_variance_and_the_error_the_mean(target):
    process = make(target=target)
    b = batch(process, [0, 1, 400, 999])
    y = process.target.value(b.x0, b.noise, b.level) + 0.1
    output = torch.cat([y, 0.1 * draw(4, 1, 4, 4, seed=4)], 1).requires_grad_()
    hybrid = HybridVlb().compute(output, b, process)
    assert hybrid.shape == (4,)
    assert hybrid.dtype == torch.float32
    (by_hybrid,) = torch.autograd.grad(hybrid.sum(), output)
    (by_mse,) = torch.autograd.grad(Mse().compute(output, b, process).sum(), output)
    assert by_hybrid.isfinite().all()
    assert torch.allclose(by_hybrid[:, :1], by_mse[:, :1])
    assert (by_hybrid[:, 1:] != 0).all()
    assert (by_mse[:, 1:] == 0).all()


def test_what_it_requires_and_provides():
    assert set(HybridVlb().requires()) == {"learned_variance", "discrete"}
    assert HybridVlb().provides() == {"variance_loss"}
    assert "discrete" in Linear().provides()


def test_posterior_is_bayes_rule():
    """q(x' | x, x0) ∝ q(x | x')·q(x' | x0), both normal."""
    alpha, sigma, to_alpha, to_sigma = 0.5, 0.8, 0.9, 0.3
    back = posterior(alpha, sigma, to_alpha, to_sigma)
    ratio = alpha / to_alpha
    precision = ratio**2 / back.large + 1 / to_sigma**2
    assert back.small == pytest.approx(1 / precision)
    assert back.on_x == pytest.approx(ratio / back.large / precision)
    assert back.on_x0 == pytest.approx(to_alpha / to_sigma**2 / precision)
