"""Optimizers take the steps of their papers; rates follow the images."""

import copy
import math

import pytest
import torch
from learners import learner, same, train
from torch import nn

from ablate.api import InputSpec
from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.kinds.parameters import trained_parameters
from ablate_zoo.optimizer.adam import Adam
from ablate_zoo.optimizer.adamw import AdamW
from ablate_zoo.optimizer.muon import Muon
from ablate_zoo.optimizer.sgd import Sgd


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3))


def backward(net, seed):
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
    net.zero_grad()
    net(x).square().mean().backward()


def steps(config, rule, count=5, atol=3e-6):
    """The optimizer beside `rule`(state, w, g, step) -> w, in float64."""
    net = network()
    optimizer = config.build(net.parameters())
    theta, states = [p.detach().double() for p in net.parameters()], [{} for _ in net.parameters()]
    for step in range(1, count + 1):
        backward(net, step)
        theta = [
            rule(state, w, p.grad.double(), step) for state, w, p in zip(states, theta, net.parameters(), strict=True)
        ]
        optimizer.step()
        for p, w in zip(net.parameters(), theta, strict=True):
            assert torch.allclose(p.double(), w, atol=atol)


def adam_direction(config, state, g, step):
    state["m"] = config.beta1 * state.get("m", 0) + (1 - config.beta1) * g
    state["v"] = config.beta2 * state.get("v", 0) + (1 - config.beta2) * g * g
    m, v = state["m"] / (1 - config.beta1**step), state["v"] / (1 - config.beta2**step)
    return m / (v.sqrt() + config.eps)


@pytest.mark.parametrize("spec", [{}, {"lr": 1e-2, "beta1": 0.5, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.3}])
@pytest.mark.parametrize("vectors", [False, True])
def test_adamw_takes_the_steps_of_the_paper(spec, vectors):
    """Loshchilov & Hutter, Algorithm 2; vectors decay where that is said."""
    config = AdamW(**spec, decay_vectors=vectors)

    def rule(state, w, g, step):
        decay = config.weight_decay if vectors or w.ndim >= 2 else 0
        return w - config.lr * (adam_direction(config, state, g, step) + decay * w)

    steps(config, rule)


def test_adam_takes_the_decay_as_part_of_the_gradient():
    config = Adam(lr=1e-2, weight_decay=0.3, decay_vectors=True)
    steps(config, lambda state, w, g, step: w - config.lr * adam_direction(config, state, g + 0.3 * w, step))


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_has_momentum_and_looks_ahead(nesterov):
    config = Sgd(lr=0.1, momentum=0.7, nesterov=nesterov)

    def rule(state, w, g, step):
        state["v"] = 0.7 * state["v"] + g if state else g
        return w - 0.1 * (g + 0.7 * state["v"] if nesterov else state["v"])

    steps(config, rule)


def test_muon_moves_matrices_along_orthogonal_ones_and_the_rest_by_adamw():
    """The step of a matrix has singular values near 0.2·√max(shape)·lr, Liu et al. 2025; vectors follow AdamW."""
    net, other = network(), network()
    config = Muon(lr=1e-2)
    optimizer, reference = config.build(net.parameters()), AdamW(lr=1e-2).build(other.parameters())
    before = [p.detach().clone() for p in net.parameters()]
    for each, its in ((net, optimizer), (other, reference)):
        backward(each, 0)
        its.step()
    for p, o, b in zip(net.parameters(), other.parameters(), before, strict=True):
        if p.ndim < 2:
            assert torch.equal(p, o)
        else:
            sizes = torch.linalg.svdvals((p.detach() - b) / (0.2 * math.sqrt(max(p.shape)) * 1e-2))
            assert sizes.median() > 0.5 and sizes.max() < 1.4, sizes  # those near 0 are raised, but not to 1
            assert not torch.allclose(p, o)


@pytest.mark.parametrize("name", catalog().names("optimizer"))
def test_it_resumes_and_follows_the_rate_that_is_set(name):
    """As the learner does it: groups' rates set from outside, state through its state dict; at rate 0 nothing moves."""
    config = catalog().create("optimizer", {"type": name, "lr": 1e-2, "weight_decay": 0.1})
    net, other = network(), network(1)
    optimizer = config.build(net.parameters())
    for step in range(3):
        backward(net, step)
        optimizer.step()
    other.load_state_dict(net.state_dict())
    resumed = config.build(other.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, its in ((net, optimizer), (other, resumed)):
        for group in its.param_groups:
            group["lr"] = 3e-3
        backward(each, 3)
        its.step()
    assert all(map(torch.equal, net.parameters(), other.parameters()))
    for group in resumed.param_groups:
        group["lr"] = 0.0
    backward(other, 4)
    resumed.step()
    assert all(map(torch.equal, net.parameters(), other.parameters()))


@pytest.mark.parametrize("cls", [AdamW, Adam, Sgd])
def test_what_has_a_fused_kernel_uses_it(cls):
    assert cls().build(network().parameters()).defaults["fused"] is True


def test_the_rate_warms_up_and_falls():
    config = AdamW(lr=1.0, warmup=100, decay="cosine", final=0.1)
    assert config.rate(50, 1100) == pytest.approx(0.5)
    assert config.rate(100, 1100) == pytest.approx(1.0)
    assert config.rate(600, 1100) == pytest.approx(0.55)
    assert config.rate(1100, 1100) == config.rate(5000, 1100) == pytest.approx(0.1)
    assert AdamW(lr=0.3).rate(0, 10) == 0.3


def test_the_rate_falls_linearly_or_as_edm2_does():
    linear = AdamW(lr=2.0, warmup=100, decay="linear", final=0.5)
    assert [linear.rate(n, 1100) for n in (50, 100, 350, 1100, 9000)] == pytest.approx([1, 2, 1.75, 1, 1])
    edm2 = AdamW(lr=0.01, decay="inverse_sqrt", reference=1000, warmup=200)
    seen = [edm2.rate(n, budget) for n in (100, 500, 1000, 4000, 100_000) for budget in (10, 1e9)]
    assert seen[::2] == seen[1::2] == pytest.approx([0.005, 0.01, 0.01, 0.005, 0.001])


def test_the_rate_is_stable_until_the_cooldown_and_falls_by_one_minus_the_root():
    """Hägele et al. 2024: 1 − √part over the last fifth; beyond the budget it stays where it ended."""
    wsd = AdamW(lr=2.0, warmup=100, decay="wsd")
    assert [wsd.rate(n, 1000) for n in (50, 100, 400, 800)] == [1, 2, 2, 2]
    assert [wsd.rate(n, 1000) for n in (802, 850, 898, 1000, 9000)] == pytest.approx([1.8, 1, 0.6, 0, 0])
    final = AdamW(lr=2.0, decay="wsd", cooldown=0.5, final=0.1)
    assert [final.rate(n, 1000) for n in (500, 625, 1000, 2000)] == pytest.approx([2, 1.1, 0.2, 0.2])
    assert final.rate(10**9, math.inf) == 2  # before a budget of minutes is known in images


@pytest.mark.parametrize("cooldown", [0.05, 0.2, 0.9])
@pytest.mark.parametrize("final", [0.0, 0.3, 1.0])
def test_a_stable_rate_never_rises_and_knows_nothing_of_the_budget_before_its_cooldown(cooldown, final):
    wsd = AdamW(lr=3e-4, warmup=0, decay="wsd", cooldown=cooldown, final=final)
    short = [wsd.rate(n, 1000) for n in range(0, 1200, 7)]
    assert short == sorted(short, reverse=True) and short[0] == 3e-4
    assert wsd.rate(1000, 1000) == pytest.approx(3e-4 * final)
    warm = AdamW(lr=3e-4, warmup=30, decay="wsd", cooldown=cooldown, final=final)
    stable = [n for n in range(1000) if n <= 1000 * (1 - cooldown)]
    assert [warm.rate(n, 1000) for n in stable] == [warm.rate(n, 2000) for n in stable]
    assert AdamW(decay="cosine").rate(100, 1000) != AdamW(decay="cosine").rate(100, 2000)


def test_what_wsd_reads_is_in_no_other_identity():
    assert AdamW(cooldown=0.5).digest() == AdamW().digest()
    assert AdamW(decay="cosine", cooldown=0.5).digest() == AdamW(decay="cosine").digest() != AdamW(decay="wsd").digest()
    assert AdamW(decay="wsd", cooldown=0.5).digest() != AdamW(decay="wsd").digest()
    assert AdamW(decay="wsd", final=0.1).digest() != AdamW(decay="wsd").digest()
    read = {"constant": set(), "cosine": {"final"}, "linear": {"final"}, "inverse_sqrt": {"reference"}}
    for decay, own in read.items():
        assert AdamW(decay=decay).active().keys() & {"final", "reference", "cooldown"} == own


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"lr": 0}, "lr: input should be greater than 0"),
        ({"lr": -1e-4}, "lr: input should be greater than 0"),
        ({"beta2": 1.0}, "beta2: input should be less than 1"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"decay": "cosin"}, "cosine"),
        ({"decay": "wsd", "cooldown": 0}, "cooldown: input should be greater than 0"),
        ({"decay": "wsd", "cooldown": 1}, "cooldown: input should be less than 1"),
        ({"type": "sgd", "momentum": 1}, "momentum: input should be less than 1"),
        ({"type": "sgd", "momentum": 0, "nesterov": True}, "needs|give a momentum"),
        ({"type": "adamx"}, "did you mean 'adam"),
    ],
)
def test_what_cannot_be_is_refused(spec, told):
    with pytest.raises(SpecError, match=told):
        catalog().create("optimizer", {"type": "adamw", **spec})


def small_dit():
    backbone = {"type": "uvit", "patch": 4, "depth": 3, "width": 16, "heads": 2}
    return compose({"backbone": backbone}, catalog()).backbone.build(InputSpec((1, 8, 8), 3))


def test_a_parameter_is_known_by_its_role_and_its_layer():
    named = {one.name: one for one in trained_parameters(small_dit(), {"uncertainty": nn.Linear(2, 1)}).named}
    assert {one.blocks for one in named.values()} == {4}
    place = {name: (one.role, one.layer) for name, one in named.items()}
    assert place["condition.label.weight"] == ("embedding", 0)
    assert place["tokens.positions.table"] == ("embedding", 0)
    assert place["tokens.embed.weight"] == ("weight", 0)
    assert place["encoder.0.attention.before.weight"] == ("norm", 1)
    assert place["middle.0.mlp.branch.up.bias"] == ("bias", 2)
    assert place["decoder.0.mlp.branch.up.weight"] == ("weight", 4)
    assert place["head.linear.weight"] == ("weight", 5)
    assert place["uncertainty.weight"] == ("weight", 5)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_rates_fall_by_layer_and_tables_need_not_decay(name):
    spec = {"type": name, "weight_decay": 0.1, "decay_embeddings": False, "layer_decay": 0.5}
    parameters = trained_parameters(small_dit())
    groups = catalog().create("optimizer", spec).build(parameters).param_groups
    group_of = {id(p): group for group in groups for p in group["params"]}
    for one in parameters.named:
        group = group_of[id(one.parameter)]
        assert group["rate_share"] == 0.5 ** (5 - one.layer)
        assert group["weight_decay"] == (0.1 if one.role == "weight" else 0.0), one.name


def test_the_learner_follows_the_shares_of_the_rate_and_resumes_with_them():
    spec = {"type": "adamw", "lr": 1e-2, "layer_decay": 0.5, "warmup": 16}
    trained = train(learner(optimizer=spec), 3)
    rates = {round(group["lr"] / 1e-2, 9) for group in trained.optimizer.param_groups}
    assert rates == {1.0, 0.5, 0.25}
    resumed = learner(optimizer=spec)
    resumed.load(copy.deepcopy(trained.state({})))
    assert same(train(resumed, 2).network.state_dict(), train(trained, 2).network.state_dict())


def test_with_the_old_options_the_groups_are_the_old_ones():
    parameters = trained_parameters(small_dit())
    (all_in_one,) = AdamW().build(parameters).param_groups
    assert all_in_one["params"] == list(parameters) and "rate_share" not in all_in_one
    matrices, vectors = AdamW(weight_decay=0.1).build(parameters).param_groups
    assert matrices["params"] == [p for p in parameters if p.ndim >= 2] and matrices["weight_decay"] == 0.1
    assert vectors["params"] == [p for p in parameters if p.ndim < 2] and vectors["weight_decay"] == 0.0
    assert AdamW(weight_decay=0.1).active().keys() == AdamW().active().keys()
    assert not {"layer_decay", "decay_embeddings"} & AdamW().active().keys()
