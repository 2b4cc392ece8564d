"""What probes tell, against the same computed by other means."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ablate.candidates.candidate import compose
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Dataset
from ablate.kinds.probe import HELD
from ablate.spec.component import InputSpec
from ablate.training.images import Images
from ablate.training.learner import Learner
from ablate.training.probing import LEVELS, held_batch, show
from ablate_zoo.layers.attention import DotProduct
from ablate_zoo.layers.gradients import gradients
from ablate_zoo.probe._pass import ActivationVariance, AttentionLogits, LossByLevel, SkipRatio
from ablate_zoo.probe._sites import modules_named, place, sites
from ablate_zoo.probe._step import BlockNorms, UpdateRatio, weights
from ablate_zoo.probe.loss_by_level import LossByLevel as LossByLevelProbe
from ablate_zoo.probe.spikes import Spikes

CPU = torch.device("cpu")
DIT = {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2}


class Stack(nn.Module):
    """Blocks in a list, and lists in a list; the fusion takes what the first block gave."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.GELU())])
        self.levels = nn.ModuleList([nn.ModuleList([nn.Linear(6, 4)]), nn.ModuleList([nn.Linear(4, 6)])])
        self.fusion = nn.Bilinear(6, 6, 6)

    def forward(self, x):
        skip = self.blocks[0](x)
        x = self.blocks[1](skip)
        x = self.levels[1][0](self.levels[0][0](x))
        return self.fusion(x, skip)


class Own(Stack):
    def sites(self):
        return {"last": self.fusion, "first": self.blocks[0]}


def passed(observer, network, *parts):
    handles = observer.attach(network)
    with torch.no_grad():
        for part in parts:
            network(part)
    for handle in handles:
        handle.remove()
    return observer.read()


def learner(**more):
    candidate = compose({"backbone": DIT, "batch": 8, **more}, catalog())
    pixels = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = (torch.arange(40) % 3).numpy()
    images = Images(Dataset(pixels.numpy(), labels, pixels[:0].numpy(), None, 3, "0" * 64), CPU)
    return Learner(candidate, InputSpec((1, 8, 8), 3), images, 0, CPU, None)


def test_sites_are_what_the_network_says_or_the_members_of_its_lists_or_its_children():
    assert list(sites(Own())) == ["last", "first"]
    assert list(sites(Stack())) == ["blocks.0", "blocks.1", "levels.0.0", "levels.1.0"]
    assert list(sites(nn.Sequential(nn.Linear(2, 2), nn.GELU()))) == ["0", "1"]
    assert list(modules_named(nn.ModuleDict({"fusion": Stack(), "a": Stack()}), "fusion")) == ["fusion", "a.fusion"]
    assert place("decoder.0", torch.zeros(1, 2, 8, 4)) == "decoder.0 8×4"


def test_activation_variance_is_that_of_all_outputs_whatever_the_parts():
    torch.manual_seed(0)
    network, x = Stack(), torch.randn(12, 6)
    skip = network.blocks[0](x)
    wanted = [skip.var(correction=0), network.blocks[1](skip).var(correction=0)]
    for parts in ([x], [x[:5], x[5:]]):
        found = passed(ActivationVariance(), network, *parts)
        assert (found.sites[:2], found.x) == (["blocks.0", "blocks.1"], [0, 1, 2, 3])
        torch.testing.assert_close(found.values[:2], torch.stack(wanted).detach(), rtol=1e-4, atol=1e-6)


def test_skip_ratio_is_of_root_mean_squares():
    torch.manual_seed(0)
    network, x = Stack(), torch.randn(12, 6)
    skip = network.blocks[0](x)
    d = network.levels[1][0](network.levels[0][0](network.blocks[1](skip)))
    wanted = (skip.square().mean() / d.square().mean()).sqrt().detach()
    for parts in ([x], [x[:5], x[5:]]):
        found = passed(SkipRatio(), network, *parts)
        assert (found.sites, found.x) == (["fusion"], [0])
        torch.testing.assert_close(found.values[0], wanted, rtol=1e-4, atol=1e-6)


class Attends(nn.Module):
    """Its input is queries and keys at once."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleDict({"product": DotProduct()})

    def forward(self, x):
        return self.inner["product"](x, x.flip(-1), x)


@pytest.mark.parametrize("scale", [None, 3.0])
@pytest.mark.parametrize("at_once", [2**24, 100])
def test_attention_logits_are_the_largest_before_the_softmax(monkeypatch, scale, at_once):
    monkeypatch.setattr("ablate_zoo.probe._pass.LOGITS", at_once)
    torch.manual_seed(0)
    network, x = Attends(), torch.randn(7, 3, 5, 4)
    network.inner["product"].query_key.scale = scale
    logits = torch.einsum("bhnd,bhmd->bhnm", x.double(), x.double().flip(-1)) * (0.5 if scale is None else scale)
    for images, parts in ((7, [x]), (4, [x]), (4, [x[:3], x[3:]])):
        found = passed(AttentionLogits(images), network, *parts)
        assert (found.sites, found.x) == (["inner.product"], [0])
        assert float(found.values[0]) == pytest.approx(float(logits[:images].abs().max()), rel=1e-5)


def test_attention_logits_are_taken_in_fp32_and_there_are_none_where_nothing_attends():
    torch.manual_seed(0)
    x = torch.randn(7, 3, 5, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = passed(AttentionLogits(16), Attends(), x)
    exact = x.float() @ x.float().flip(-1).mT / 2
    assert float(found.values[0]) == pytest.approx(float(exact.abs().max()), rel=1e-6)
    found = passed(AttentionLogits(16), Stack(), torch.randn(2, 6))
    assert found.sites == [] and found.values.shape == (0,)


def test_loss_by_level_is_the_training_loss_of_the_held_batch():
    made = learner(weighting="min_snr", target="v")
    batch = held_batch(made, 0)
    observer = LossByLevel()
    for _ in range(2):  # the second time from what the first has found out
        show(made, batch, [observer])
        found = observer.read()
        assert len(found.values) == 2 * LEVELS and list(found.x[:LEVELS]) == sorted(found.x[:LEVELS])
        with torch.no_grad():
            made.network.eval()
            losses = made.loss(*batch)
        levels = batch[0].level.log_snr
        for i in (0, 7, LEVELS - 1):
            own = losses[(levels - found.x[i]).abs() < 1e-9]
            assert len(own) == HELD // LEVELS
            assert float(found.values[i]) == pytest.approx(float(own.mean()), rel=1e-5)
    rows = [{"site": s, "x": x, "value": float(v), "images": 0} for s, x, v in zip(*found, strict=True)]
    assert LossByLevelProbe().summary(rows) == pytest.approx(float(losses.mean()), rel=1e-5)


def test_the_x0_error_of_a_network_that_says_nothing_is_the_noise():
    """Zero predicted for ε: x̂0 = x/α, whose error is σ/α·ε. DiT begins at zero."""
    made = learner(target="epsilon")
    noised, labels = held_batch(made, 0)
    observer = LossByLevel()
    show(made, (noised, labels), [observer])
    found = observer.read()
    for i in (0, 9, LEVELS - 1):
        own = (noised.level.log_snr - found.x[i]).abs() < 1e-9
        wanted = noised.noise[own].square().mean() * float(torch.tensor(-found.x[i]).exp())
        assert found.sites[LEVELS + i] == "x0_error"
        assert float(found.values[LEVELS + i]) == pytest.approx(float(wanted), rel=1e-3)


def test_the_held_batch_is_one_for_all_candidates_of_a_seed():
    one, two = held_batch(learner(), 3)[0], held_batch(learner(levels="logit_normal", batch=5), 3)[0]
    other = held_batch(learner(), 4)[0]
    assert all(torch.equal(a, b) for a, b in ((one.x, two.x), (one.noise, two.noise), (one.level.t, two.level.t)))
    assert not torch.equal(one.x, other.x)
    assert len(one.level.t[:LEVELS].unique()) == LEVELS  # the first images see all levels


def test_norms_and_updates_of_a_step_are_those_of_the_blocks():
    made = learner(optimizer={"type": "adamw", "lr": 1e-2}, clip={"type": "global_norm", "max_norm": 1e-6})
    for _ in range(2):
        made.step(1e4)  # zero initialisation is left behind
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    grads = made.gradients(*made.batch()) and {n: p.grad.clone() for n, p in made.network.named_parameters()}
    made.optimizer.zero_grad(set_to_none=True)
    observers = [BlockNorms(gradients), BlockNorms(weights), UpdateRatio()]
    made.step(1e4, observers)
    after = dict(made.network.named_parameters())

    def norm(of, block):
        return math.sqrt(sum(float(v.detach().double().square().sum()) for n, v in of.items() if n.startswith(block)))

    found = [observer.read() for observer in observers]
    for i, block in enumerate(("blocks.0", "blocks.1")):
        assert all((one.sites[i], one.x[i]) == (block, i) for one in found)
        moved = {name: after[name] - before[name] for name in before}
        wanted = [norm(grads, block), norm(before, block), norm(moved, block) / norm(before, block)]
        assert [float(one.values[i]) for one in found] == pytest.approx(wanted, rel=1e-4)
    assert [len(observer.read().sites) for observer in observers] == [0, 0, 0]  # each is told once


@given(st.lists(st.floats(0.1, 50), min_size=0, max_size=80), st.integers(5, 20), st.floats(1.5, 8))
@settings(max_examples=60)
def test_spikes_are_found_by_the_running_median(losses, window, factor):
    observer, wanted, above = Spikes(factor=factor, window=window).build(), [], False
    for i, loss in enumerate(losses):
        recent = losses[max(0, i - window) : i]
        ratio = loss / statistics.median(recent) if len(recent) >= window / 5 else 0.0
        wanted += [(i, "loss", pytest.approx(ratio))] if ratio > factor and not above else []
        above = ratio > factor
    told = [(i, *event) for i, loss in enumerate(losses) for event in observer.step(loss, math.inf)]
    assert told == wanted
    assert Spikes().summary([{} for _ in told]) == len(told)
