"""Clips beside torch's own and beside float64 written out."""

import math

import pytest
import torch
from segments_for_tests import candidate, job, read, run
from torch import nn

from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate_zoo.clip.agc import AdaptiveClip
from ablate_zoo.clip.global_norm import GlobalNorm
from ablate_zoo.clip.none import NoClip
from ablate_zoo.clip.per_layer import PerLayer
from ablate_zoo.clip.value import ClipValue

EVERY = [NoClip(), GlobalNorm(max_norm=0.3), ClipValue(limit=0.03), PerLayer(max_norm=0.2), AdaptiveClip(ratio=0.1)]


class Net(nn.Module):
    """A convolution, a norm, two linear layers of one shape, and a free parameter; the bias of one took no part."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.LayerNorm(6)
        self.one = nn.Linear(6, 6)
        self.two = nn.Linear(6, 6)
        self.out = nn.Linear(6, 3)


def parameters(scale=1.0, seed=0):
    torch.manual_seed(seed)
    found = dict(Net().named_parameters())
    for p in found.values():
        p.grad = torch.randn_like(p) * scale
    found["two.bias"].grad = None
    return found


def grads(found):
    return {name: p.grad.double() for name, p in found.items() if p.grad is not None}


def norm(tensors):
    return math.sqrt(sum(t.square().sum().item() for t in tensors))


def close(found, expected, rtol=1e-5):
    for name, g in grads(found).items():
        torch.testing.assert_close(g, expected[name], rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("clip", EVERY, ids=lambda clip: clip.name)
def test_it_tells_both_norms_and_leaves_alone_what_took_no_part(clip, scale):
    found = parameters(scale)
    before = norm(grads(found).values())
    told = clip.apply(found)
    assert [float(told.before), float(told.after)] == pytest.approx([before, norm(grads(found).values())], rel=1e-5)
    assert found["two.bias"].grad is None


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_global_norm_and_value_are_torchs_own(scale):
    for clip, own in (
        (GlobalNorm(max_norm=0.3), lambda ps: nn.utils.clip_grad_norm_(ps, 0.3)),
        (ClipValue(limit=0.03), lambda ps: nn.utils.clip_grad_value_(ps, 0.03)),
    ):
        ours, theirs = parameters(scale), parameters(scale)
        clip.apply(ours)
        own(list(theirs.values()))
        for name, p in ours.items():
            assert p.grad is None or torch.equal(p.grad, theirs[name].grad)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1e3])
def test_per_layer_shortens_each_module_by_itself(scale):
    found = parameters(scale)
    g = grads(found)
    expected = {}
    for layer in {name.rpartition(".")[0] for name in g}:
        own = {name: value for name, value in g.items() if name.rpartition(".")[0] == layer}
        expected |= {name: value * min(1.0, 0.2 / norm(own.values())) for name, value in own.items()}
    PerLayer(max_norm=0.2).apply(found)
    close(found, expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1e3])
def test_agc_shortens_each_unit_against_its_own_weights(scale, last):
    """Brock et al., equation 3, row by row and filter by filter."""
    found = parameters(scale)
    with torch.no_grad():
        found["one.weight"][2] = 0  # a unit at zero counts with `least`
    expected = grads(found)
    for name, value in expected.items():
        if value.ndim >= 2 and (last or name != "out.weight"):
            for unit, w in zip(value, found[name].detach().double(), strict=True):
                bound = 0.1 * max(norm([w]), 1e-3)
                unit *= min(1.0, bound / norm([unit]))
    AdaptiveClip(ratio=0.1, last_layer=last).apply(found)
    close(found, expected)


@pytest.mark.parametrize("clip", EVERY, ids=lambda clip: clip.name)
def test_a_broken_gradient_is_told_and_none_is_no_harm(clip):
    found = parameters()
    found["one.weight"].grad[0, 0] = math.inf
    assert not math.isfinite(clip.apply(found).before)
    for p in found.values():
        p.grad = None
    assert clip.apply(found) == (0, 0)
    assert clip.apply({}) == (0, 0)


def test_the_curve_keeps_both_norms(tmp_path):
    made = job(tmp_path, candidate(more={"clip": {"type": "global_norm", "max_norm": 0.01}}), {"steps": 4})
    run(made)
    for row in read(made, "curve.json"):
        assert row["grad_norm"] > 0.02
        assert row["grad_norm_clipped"] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"type": "global_norm", "max_norm": 0}, "greater than 0"),
        ({"type": "value", "limit": -1}, "greater than 0"),
        ({"type": "agc", "ratio": 0}, "greater than 0"),
        ({"type": "per_layer", "max_norm": -0.1}, "greater than 0"),
        ({"type": "global-norm"}, "did you mean 'global_norm'"),
    ],
)
def test_what_cannot_be_is_refused(spec, told):
    with pytest.raises(SpecError, match=told):
        catalog().create("clip", spec)
