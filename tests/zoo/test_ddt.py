"""backbone `ddt`: as printed, to its formulas, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import ablate
from ablate.candidates.candidate import compose, misfits
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.spec.component import InputSpec

MODELS = Path(__file__).parents[2] / "studies" / "models"
SETTING = InputSpec((3, 8, 8), 10)
TINY = {"type": "ddt", "patch": 2, "depth": 2, "decoder_depth": 1, "width": 32, "heads": 2}


def network(**fields):
    torch.manual_seed(0)
    made = ablate.create("backbone", {**TINY, **fields}).build(SETTING)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def inputs():
    torch.manual_seed(1)
    return torch.randn(2, 3, 8, 8), torch.rand(2), torch.tensor([3, 10])


def test_the_paper_s_size():
    assert round(ablate.cost(MODELS / "ddt_xl_2.yaml").params / 1e6) == 675


def test_is_what_the_paper_describes():
    """Encoder and decoder with plain functions, from the network's own weights, in fp64."""
    made = network().double().eval()
    x, noise, labels = inputs()
    x, w = x.double(), dict(made.named_parameters())

    def linear(t, name):
        return F.linear(t, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(t):
        return F.layer_norm(t, (32,), eps=1e-6)

    def block(t, e, name):
        """e: (B, 1, D), the same for all tokens, or (B, N, D), one for each."""
        parts = linear(F.silu(e), f"{name}.modulation.linear").chunk(6, -1)  # shift, scale, gate; twice
        h = norm(t) * (1 + parts[1]) + parts[0]
        heads = [
            part.view(2, 16, 2, 16).transpose(1, 2) for part in linear(h, f"{name}.attention.branch.qkv").chunk(3, -1)
        ]
        attended = (heads[0] @ heads[1].transpose(-1, -2) / 4).softmax(-1) @ heads[2]
        t = t + parts[2] * linear(attended.transpose(1, 2).flatten(2), f"{name}.attention.branch.out")
        h = F.gelu(linear(norm(t) * (1 + parts[4]) + parts[3], f"{name}.mlp.branch.up"), approximate="tanh")
        return t + parts[5] * linear(h, f"{name}.mlp.branch.down")

    rates = torch.exp(-math.log(10_000) / 128 * torch.arange(128))  # in fp32, as the network has them
    angles = (noise[:, None] * rates).double()
    t = linear(torch.cat([angles.cos(), angles.sin()], -1), "condition.level.first")
    t = linear(F.silu(t), "condition.level.second")[:, None]
    patches = made.tokens.patches(x)
    z = linear(patches, "tokens.embed") + made.tokens.positions.table
    for i in range(2):
        z = block(z, t + w["condition.label.weight"][labels][:, None], f"encoder.{i}")
    y = linear(patches, "drawn.embed") + made.drawn.positions.table  # the decoder's own
    y = block(y, t + z, "decoder.0")
    shift, scale = linear(F.silu(t + z), "head.modulation.linear").chunk(2, -1)
    image = made.drawn.image(linear(norm(y) * (1 + scale) + shift, "head.linear"))
    with torch.no_grad():
        assert (made(x, noise, labels) - image).abs().max() <= 1e-6 * image.abs().max()


OPTIONS = [
    *({"conditioning": name} for name in ("adaln", "additive", "in_context", "cross_attention")),
    {"registers": 2, "positions": "sincos_rope", "mlp": "swiglu", "norm": "rms", "norm_affine": "always"},
    {"second_label": True, "learned_sigma": True, "residual": "learned", "norm_placement": "sandwich"},
    {"attention": "ssm", "parallel": True},
]


@pytest.mark.parametrize("fields", OPTIONS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_every_option_reaches_every_parameter(fields):
    made = network(**fields).train()
    x, noise, labels = inputs()
    out = made(x, noise, labels, *([noise / 2] if fields.get("second_label") else []))
    assert out.shape == (2, 6 if fields.get("learned_sigma") else 3, 8, 8)
    out.square().mean().backward()
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


def test_what_it_cannot_do_is_refused():
    with pytest.raises(SpecError, match="leave base_width out"):
        ablate.create("backbone", {**TINY, "base_width": 16, "head_width": 16})
    for part, told in (
        ({"routing": {"type": "drop", "before": 0, "after": 1}}, "say routing: none"),
        ({"attention": {"type": "softmax", "value_residual": "fixed"}}, "take a transformer, or value_residual: none"),
    ):
        problems = misfits(compose({"backbone": {**TINY, **part}}, catalog()), None, SETTING, provided={"labels"})
        assert any(told in problem.message for problem in problems), problems
