"""backbone `uvit`: the paper's sizes, its function against the formula, and long skips by any fusion."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import ablate
from ablate.api import Context, InputSpec
from ablate.discovery.catalog import catalog
from ablate_zoo.backbone._uvit_modules import LongSkip

MODELS = Path(__file__).parents[2] / "studies" / "models"
TINY = {"type": "uvit", "patch": 2, "depth": 5, "width": 32, "heads": 4}
SETTING = InputSpec((3, 8, 6), 10)
FUSIONS = [entry.name for entry in catalog().entries("fusion") if entry.distribution == "ablate"]


def stirred(module):
    """The same module with every parameter moved, so that nothing is zero by initialisation."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return module.eval()


def inputs(batch=3):
    torch.manual_seed(1)
    return torch.randn(batch, 3, 8, 6), torch.rand(batch) * 999, torch.arange(batch) % 11


# Parameters (M) as printed in table 1 of Bao et al. 2023, and Gflops where the paper prints them. Its 77 for
# the L models is 76.47 by our convention, and 76.51 where a norm takes 5 operations an element, not 1.
PRINTED = {
    "uvit_s_2_cifar10": (44, None),
    "uvit_s_4_celeba": (44, None),
    "uvit_m_4_imagenet64": (131, None),
    "uvit_l_4_imagenet64": (287, None),
    "uvit_l_2": (287, 77),
    "uvit_l_4": (287, 77),
    "uvit_h_2": (501, 133),
    "uvit_h_4": (501, 133),
}


@pytest.mark.parametrize("name", PRINTED)
def test_sizes_of_the_paper(name):
    cost, (params, gflops) = ablate.cost(MODELS / f"{name}.yaml"), PRINTED[name]
    assert round(cost.params / 1e6) == params
    if gflops is not None:
        norms = cost.gflops - cost.macs / 1e9
        assert round(cost.macs / 1e9 + 5 * norms) == gflops
        assert abs(cost.gflops - gflops) < 0.54


def test_every_model_of_the_paper_is_here():
    assert {file.stem for file in MODELS.glob("uvit_*.yaml")} == set(PRINTED)


def test_is_what_the_paper_describes():
    """Step by step with plain functions, from the network's own weights (Bao et al. 2023, figure 2), in fp64."""
    norms = {"norm": {"type": "layer", "eps": 1e-5}, "norm_affine": "always"}
    made = stirred(ablate.create("backbone", {**TINY, **norms}).build(SETTING)).double()
    x, noise, labels = inputs(2)
    x = x.double() / 100  # small enough for an epsilon to count
    w = dict(made.named_parameters())

    def linear(t, name):
        return F.linear(t, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(t, name):
        return F.layer_norm(t, (32,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def block(t, name):
        q, k, v = (
            part.view(2, -1, 4, 8).transpose(1, 2)
            for part in linear(norm(t, f"{name}.attention.before"), f"{name}.attention.branch.qkv").chunk(3, dim=-1)
        )
        attended = ((q @ k.transpose(-1, -2)) / 8**0.5).softmax(-1) @ v
        t = t + linear(attended.transpose(1, 2).flatten(2), f"{name}.attention.branch.out")
        hidden = F.gelu(linear(norm(t, f"{name}.mlp.before"), f"{name}.mlp.branch.up"))
        return t + linear(hidden, f"{name}.mlp.branch.down")

    def long_skip(t, s, i):
        join = made.skips[i].fusion
        both = torch.cat([join.decoder.weight, join.skip.weight], dim=1).flatten(1)
        return F.linear(torch.cat([t, s], dim=-1), both, join.decoder.bias)

    rates = torch.exp(-math.log(10_000) / 16 * torch.arange(16))  # in fp32, as the network has them
    time = torch.cat([(noise[:, None] * rates).cos(), (noise[:, None] * rates).sin()], dim=1).double()
    extra = torch.stack([time + w["condition.level.position"], w["condition.label.weight"][labels]], dim=1)
    patches = F.unfold(x, 2, stride=2).transpose(1, 2)  # (B, N, C·p·p), as our own
    t = torch.cat([extra, linear(patches, "tokens.embed") + w["tokens.positions.table"]], dim=1)
    t = first = block(t, "encoder.0")
    t = second = block(t, "encoder.1")
    t = block(t, "middle.0")
    t = block(long_skip(t, second, 0), "decoder.0")
    t = block(long_skip(t, first, 1), "decoder.1")
    t = linear(norm(t, "head.norm"), "head.linear")[:, 2:]
    image = t.view(2, 4, 3, 2, 2, 3).permute(0, 5, 1, 3, 2, 4).reshape(2, 3, 8, 6)
    image = F.conv2d(image, w["refine.weight"], w["refine.bias"], padding=1)
    assert (made(x, noise, labels) - image).abs().max() <= 1e-6 * image.abs().max()


@pytest.mark.parametrize("fusion", [*FUSIONS, {"type": "concat", "project": False}], ids=str)
def test_any_fusion_joins_the_halves(fusion):
    """Every parameter is reached, through the patches' tokens or those that have joined; also without such tokens."""
    for conditioning in ("in_context", "adaln_zero"):
        made = stirred(
            ablate.create("backbone", {**TINY, "fusion": fusion, "conditioning": conditioning}).build(SETTING)
        )
        out = made(*inputs())
        assert out.shape == (3, 3, 8, 6)
        out.square().mean().backward()
        for name, parameter in made.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_a_skip_sees_patches_as_maps_and_other_tokens_as_a_column():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, d, s, context):
            seen.append((d, s))
            return d + s

    d, s = torch.randn(2, 2, 14, 8)
    context = Context(torch.randn(2, 8), torch.randn(2, 2, 8), torch.rand(2))
    assert torch.equal(LongSkip(Spy(), 8, 8, (4, 3))(d, s, context, joined=2), d + s)
    (column, _), (maps, skip) = sorted(seen, key=lambda pair: pair[0].shape[2])
    assert column.shape == (2, 8, 2, 1) and maps.shape == (2, 8, 4, 3)
    assert torch.equal(maps[0, :, 1, 2], d[0, 2 + 5]) and torch.equal(skip[1, :, 3, 0], s[1, 2 + 9])


def test_starts_at_zero_where_it_is_told_to():
    for conv in (True, False):
        made = ablate.create("backbone", {**TINY, "final_conv": conv}).build(SETTING)
        assert made(*inputs()).abs().max() == 0
    made = ablate.create("backbone", {**TINY, "zero_init": False}).build(SETTING)
    assert made(*inputs()).abs().max() > 0


@pytest.mark.parametrize(("init", "deviation"), [("normal", 0.02), ("xavier", (2 / (4 * 96 + 96)) ** 0.5)])
def test_how_weights_begin(init, deviation):
    spec = {**TINY, "width": 96, "heads": 3, "init": init}
    network = ablate.create("backbone", spec).build(SETTING)
    first = network.encoder[0].mlp
    (weight, *_) = [p for p in first.parameters() if p.ndim == 2]
    assert weight.std().item() == pytest.approx(deviation, rel=0.05)
