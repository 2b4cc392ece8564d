"""The variance over a stack of fusions at initialisation: which keep it, which do not, and where the claim fails."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import ablate
from ablate.api import Context
from ablate.discovery.catalog import catalog

C, E = 16, 8
DEPTH = 12


def skips(batch=8, size=16):
    """Skips of unit variance and different statistics, over and over; every second one is ten times as large."""
    kinds = [
        lambda: torch.randn(batch, C, size, size),
        lambda: (torch.rand(batch, C, size, size) - 0.5) * math.sqrt(12),
        lambda: torch.randn(batch, C, size, size) * (torch.rand(batch, C, size, size) < 0.1) / math.sqrt(0.1),
        lambda: F.interpolate(torch.randn(batch, C, size // 4, size // 4), scale_factor=4.0),  # smooth
        lambda: (torch.randn(batch, C, size, size) + torch.randn(batch, C, 1, 1)) / math.sqrt(2),  # channels differ
    ]
    for i in range(DEPTH):
        yield kinds[i % len(kinds)]() * (10 if i % 2 else 1)


def grown(spec, deviation=1.0, correlation=0.0):
    """Var y / Var d after a stack of fusions at initialisation; the skips may be correlated with what they meet."""
    torch.manual_seed(0)
    d = start = deviation * torch.randn(8, C, 16, 16)
    context = Context(torch.randn(8, E), torch.randn(8, 2, E), torch.linspace(0, 999, 8))
    with torch.no_grad():
        for s in skips():
            module = ablate.create("fusion", spec).build(C, C, E).eval()
            if correlation:
                s = correlation * d / d.std() + math.sqrt(1 - correlation**2) * torch.randn(s.shape)
            d = module(d, s, context)
    return float(d.var() / start.var())


def keeping_the_variance():
    normed = [{"type": "renorm_add", "norm": norm} for norm in ("group", "adaptive_group")]
    return [*normed, *({"type": "gated", "gate": gate} for gate in catalog().names("gate"))]


@pytest.mark.parametrize("spec", keeping_the_variance(), ids=lambda spec: "-".join(spec.values()))
def test_the_variance_stays_over_depth(spec):
    """Twelve fusions at initialisation, every second skip ten times as large: Var y / Var d in 0.95 … 1.05.

    Measured: renorm_add 1.00, gated 0.99 (spatial, cross-attention) to 1.02 (channel, time × channel).
    """
    assert grown(spec) == pytest.approx(1, abs=0.05)


def test_the_variance_grows_without():
    """The same stack: `add` 610, for 1 + the sum of the skips' variances, 1 + 6·1 + 6·100, is 607.

    A 1×1 convolution of both halves what comes in and adds half of the skip: 61. Without its norm,
    renorm_add does the same: 67. Attention begins as d: 1.
    """
    assert grown("add") == pytest.approx(607, rel=0.02)
    assert 40 < grown("concat") < 90
    assert 40 < grown({"type": "renorm_add", "norm": "none"}) < 90
    assert grown("attention") == 1


def test_the_variance_where_the_claim_fails():
    """Where d has not unit variance, the step pulls it there; where d and s correlate, it grows up to a bound.

    From V to (V + α² + 2ρα√V)/(1 + α²), whose fixed point is √V = (ρ + √(ρ² + α²))/α: with α = 1, V = 2.62 at
    ρ = 1/2, and 5.83 at ρ = 1, at any depth. A gate that is nearly closed has the higher bound, and nears it
    more slowly. `add` grows without bound: 66 at ρ = 1/2.
    """
    assert grown("renorm_add", deviation=3) == pytest.approx(1 / 9, rel=0.05)
    assert grown("renorm_add", correlation=0.5) == pytest.approx(2.62, rel=0.03)
    assert grown("renorm_add", correlation=0.999) == pytest.approx(5.83, rel=0.05)
    assert grown("add", correlation=0.5) > 50
