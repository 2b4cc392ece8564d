"""Gates: what each computes, and that the time gate is monotone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import ablate
from ablate.api import Context
from ablate_zoo.gate._modules import TimeGate

C, S, E = 16, 24, 8
SEEING = ["channel", "spatial", "cross_attention"]  # gates that look at features


def gate(spec, live=True):
    """The module of a gate, its weights moved unless they are to be those of the start."""
    torch.manual_seed(0)
    module = ablate.create("gate", spec).build(C, S, E)
    if live:
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.3 * torch.randn(p.shape))
    return module


def features(size=(7, 5), batch=3):
    torch.manual_seed(1)
    d, s = torch.randn(batch, C, *size), 2 * torch.randn(batch, S, *size) + 1
    return d, s, Context(torch.randn(batch, E), torch.randn(batch, 2, E), torch.rand(batch) * 999)


def test_channel_gate_is_squeeze_and_excite():
    d, s, context = features()
    module = gate({"type": "channel", "reduction": 4})
    means = torch.cat([d.flatten(2).mean(-1), s.flatten(2).mean(-1)], dim=1)
    hidden = F.silu(means @ module.squeeze.weight.T + module.squeeze.bias)
    expected = torch.sigmoid(hidden @ module.excite.weight.T + module.excite.bias)
    assert hidden.shape == (3, (C + S) // 4)
    assert torch.allclose(module(d, s, context), expected[..., None, None], atol=1e-6)


def test_spatial_gate_is_one_convolution_of_both():
    d, s, context = features()
    module = gate("spatial")
    weight = torch.cat([module.decoder.weight, module.skip.weight], dim=1)  # (1, C + S, 3, 3)
    expected = torch.sigmoid(F.conv2d(torch.cat([d, s], dim=1), weight, module.decoder.bias, padding=1))
    assert torch.allclose(module(d, s, context), expected, atol=1e-5)


def test_attention_gate_is_decided_by_what_is_found_in_the_skip():
    """One number a place; where the places of the skip change places, the decoder finds the same."""
    d, s, context = features()
    module = gate("cross_attention")
    g = module(d, s, context)
    assert g.shape == (3, 1, 7, 5)
    assert torch.allclose(g, torch.sigmoid(module.attention(d, s)))
    assert torch.allclose(module(d, s.flip(2, 3), context), g, atol=1e-5)
    assert not torch.allclose(module(d, s**3, context), g, atol=1e-3)
    assert torch.allclose(module(d.flip(2, 3), s, context), g.flip(2, 3), atol=1e-5)


@pytest.mark.parametrize("name", SEEING)
def test_gates_begin_open_and_alike(name):
    assert torch.allclose(gate(name, live=False)(*features()), torch.tensor(2.0).sigmoid())


def test_gates_multiply():
    d, s, context = features()
    product = gate({"type": "product", "first": "time", "second": {"type": "product", "second": "spatial"}})
    first, (second, third) = product.gates[0], product.gates[1].gates
    expected = first(d, s, context) * second(d, s, context) * third(d, s, context)
    assert torch.allclose(product(d, s, context), expected)
    assert ablate.create("gate", {"type": "product", "first": "none", "second": "none"}).build(C, S, E) is None


number = st.floats(-30, 30, width=32)
level = st.one_of(st.floats(-5, 5, width=32), st.floats(0, 999, width=32), st.integers(0, 999).map(float))


@settings(max_examples=200, deadline=None)
@given(number, number, st.lists(level, min_size=2, max_size=20))
def test_time_gate_never_opens_as_noise_grows(bias, slope, levels):
    """For all weights and all levels on both scales of the label."""
    gate = TimeGate(1)
    with torch.no_grad():
        gate.bias.fill_(bias)
        gate.slope.fill_(slope)
        noise = torch.tensor(sorted(levels))
        g = gate(noise, noise, Context(noise, noise, noise)).flatten()
    assert F.softplus(gate.slope).min() >= 0
    assert (g.diff() <= 1e-6).all()
    assert ((g >= 0) & (g <= 1)).all()


def test_time_gate_has_room_on_both_scales_at_the_start():
    ends = torch.tensor([0.0, 999.0, -1.5, 1.1])
    g = TimeGate(1)(ends, ends, Context(ends, ends, ends)).flatten().tolist()
    assert g == pytest.approx([0.953, 0.309, 0.973, 0.926], abs=2e-3)
