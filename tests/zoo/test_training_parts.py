import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ablate_zoo.clip.global_norm import GlobalNorm
from ablate_zoo.clip.none import NoClip
from ablate_zoo.ema.constant import ConstantEma
from ablate_zoo.ema.none import NoEma
from ablate_zoo.optimizer.adamw import AdamW
from ablate_zoo.precision.bf16 import Bf16
from ablate_zoo.precision.fp32 import Fp32

CPU = torch.device("cpu")


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3))


def backward(net, seed, scale=1.0):
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
    net.zero_grad()
    (net(x).square().mean() * scale).backward()


@pytest.mark.parametrize("spec", [{}, {"lr": 1e-2, "beta1": 0.5, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.3}])
def test_adamw_takes_the_steps_of_the_paper(spec):
    """Loshchilov & Hutter, Algorithm 2, written out in float64."""
    config, net = AdamW(**spec), network()
    optimizer = config.build(net.parameters())
    theta = [p.detach().double().clone() for p in net.parameters()]
    m, v = [torch.zeros_like(t) for t in theta], [torch.zeros_like(t) for t in theta]
    for step in range(1, 6):
        backward(net, step)
        for i, p in enumerate(net.parameters()):
            g = p.grad.double()
            m[i] = config.beta1 * m[i] + (1 - config.beta1) * g
            v[i] = config.beta2 * v[i] + (1 - config.beta2) * g * g
            bias1, bias2 = 1 - config.beta1**step, 1 - config.beta2**step
            moved = m[i] / bias1 / ((v[i] / bias2).sqrt() + config.eps)
            theta[i] = theta[i] - config.lr * (moved + config.weight_decay * theta[i])
        optimizer.step()
        for p, t in zip(net.parameters(), theta, strict=True):
            assert torch.allclose(p.double(), t, atol=3e-6)


def test_adamw_is_fused_and_resumes_where_it_stopped():
    net = network()
    optimizer = AdamW(lr=1e-2).build(net.parameters())
    assert optimizer.defaults["fused"] is True
    for step in range(3):
        backward(net, step)
        optimizer.step()
    other = network(1)
    other.load_state_dict(net.state_dict())
    resumed = AdamW(lr=1e-2).build(other.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, its in ((net, optimizer), (other, resumed)):
        backward(each, 3)
        its.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_the_rate_warms_up_and_falls():
    config = AdamW(lr=1.0, warmup=100, decay="cosine", final=0.1)
    assert config.rate(50, 1100) == pytest.approx(0.5)
    assert config.rate(100, 1100) == pytest.approx(1.0)
    assert config.rate(600, 1100) == pytest.approx(0.55)
    assert config.rate(1100, 1100) == config.rate(5000, 1100) == pytest.approx(0.1)
    assert AdamW(lr=0.3).rate(0, 10) == 0.3


def norm_of(parameters):
    return math.sqrt(sum(p.grad.double().square().sum().item() for p in parameters if p.grad is not None))


@pytest.mark.parametrize("scale", [1e-3, 100.0])
@pytest.mark.parametrize("clip", [NoClip(), GlobalNorm(), GlobalNorm(max_norm=0.01)])
def test_clipping_bounds_the_norm_and_keeps_the_direction(clip, scale):
    net = network()
    backward(net, 0, scale)
    net[0].bias.grad = None  # a parameter that took no part
    parameters = list(net.parameters())
    before, norm = [None if p.grad is None else p.grad.clone() for p in parameters], norm_of(parameters)
    told = clip.apply(parameters)
    assert told.shape == () and told.item() == pytest.approx(norm, rel=1e-5)
    factor = min(1.0, getattr(clip, "max_norm", math.inf) / norm)
    for p, g in zip(parameters, before, strict=True):
        assert (p.grad is None) if g is None else torch.allclose(p.grad, g * factor, rtol=1e-4)


def test_the_norm_tells_of_a_broken_gradient_and_of_none():
    net = network()
    assert NoClip().apply(list(net.parameters())).item() == 0
    assert GlobalNorm().apply(list(net.parameters())).item() == 0
    backward(net, 0)
    net[0].weight.grad[0, 0] = math.nan
    for clip in (NoClip(), GlobalNorm()):
        assert math.isnan(clip.apply(list(net.parameters())).item())


def follow(config, values, batch):
    """The average of one parameter that takes these values, one a step."""
    parameter = nn.Parameter(torch.tensor([10.0]))
    average = config.build({"w": parameter})
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            parameter.fill_(value)
        average.update(step * batch, batch)
    return average


def test_the_average_is_the_closed_form():
    values = [1.0, -2.0, 3.0, 5.0, -1.0]
    average = follow(ConstantEma(halflife=200, rampup=0), values, 64)
    d = 0.5 ** (64 / 200)
    expected = 10 * d**5 + sum((1 - d) * d ** (4 - i) * v for i, v in enumerate(values))
    ((label, held),) = average.weights().items()
    assert label == "constant(200)"
    assert held["w"].item() == pytest.approx(expected, rel=1e-6)


def test_half_a_life_is_half_the_weight_whatever_the_batch():
    for batch in (1, 10, 50):
        average = follow(ConstantEma(halflife=100, rampup=0), [0.0] * (100 // batch), batch)
        assert average.weights()["constant(100)"]["w"].item() == pytest.approx(5.0, rel=1e-4)


def test_the_ramp_forgets_the_initial_weights_of_a_short_run():
    values = [0.0] * 20
    with_ramp, without = (follow(ConstantEma(rampup=r), values, 64).state()["w"].item() for r in (0.05, 0))
    assert abs(with_ramp) < 1e-5
    assert without > 9.9


@given(st.integers(1, 10**9), st.integers(1, 4096), st.floats(0, 1), st.floats(1, 1e12))
@settings(max_examples=200, deadline=None)
def test_decay_is_a_share_and_never_above_the_plain_one(seen, batch, rampup, halflife):
    images = max(seen, batch)
    decay = ConstantEma(halflife=halflife, rampup=rampup).decay(images, batch)
    assert 0 <= decay < 1
    assert decay <= ConstantEma(halflife=halflife, rampup=0).decay(images, batch)


def test_the_average_is_apart_from_the_network_and_resumes():
    net = network()
    parameters = dict(net.named_parameters())
    average = ConstantEma(halflife=100, rampup=0).build(parameters)
    (held,) = average.weights().values()
    assert held.keys() == parameters.keys()
    assert all(not held[name].requires_grad and held[name].data_ptr() != p.data_ptr() for name, p in parameters.items())
    kept = {name: tensor.clone() for name, tensor in average.state().items()}
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1)
    average.update(50, 50)
    after = {name: tensor.clone() for name, tensor in average.state().items()}
    resumed = ConstantEma(halflife=100, rampup=0).build(parameters)
    resumed.load(kept)
    resumed.update(50, 50)
    assert all(torch.equal(after[name], resumed.state()[name]) for name in after)
    with pytest.raises(KeyError, match="other parameters"):
        resumed.load({"w": torch.zeros(1)})


def test_without_an_average_the_parameters_themselves_are_measured():
    net = network()
    parameters = dict(net.named_parameters())
    average = NoEma().build(parameters)
    average.update(64, 64)
    average.load(average.state())
    assert average.state() == {}
    (held,) = average.weights().values()
    assert all(held[name] is p for name, p in parameters.items())


@pytest.mark.parametrize(("precision", "inner"), [(Fp32(), torch.float32), (Bf16(), torch.bfloat16)])
def test_a_training_step_in_each_precision(precision, inner):
    net, reference = network(), network()
    optimizer, scaler = AdamW(lr=1e-2).build(net.parameters()), precision.scaler(CPU)
    x = torch.randn(64, 6)
    with precision.forward(CPU):
        out = net(x)
    assert out.dtype == inner
    assert torch.allclose(out.float(), reference(x), atol=0.05)
    assert torch.equal(out.float(), reference(x)) == (inner == torch.float32)
    scaler.scale(out.float().square().mean()).backward()
    scaler.unscale_(optimizer)
    assert all(p.grad.dtype == p.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters())
    scaler.step(optimizer)
    scaler.update()
    assert not torch.equal(net[0].weight, reference[0].weight)


@pytest.mark.parametrize("component", [AdamW, NoClip, GlobalNorm, NoEma, ConstantEma, Fp32, Bf16])
def test_the_spec_gives_the_component_back(component):
    made = component()
    spec = made.spec()
    assert spec.pop("type") == component.name
    assert component(**spec) == made
    assert component.default is (component in (AdamW, NoClip, ConstantEma, Fp32))
