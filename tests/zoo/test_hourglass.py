"""backbone `hourglass` and mixer `neighborhood`: as printed, to their formulas, and what they refuse."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ablate
from ablate.candidates.candidate import compose, misfits
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.spec.component import InputSpec
from ablate_zoo.mixer._windows import NeighborhoodProduct

MODELS = Path(__file__).parents[2] / "studies" / "models"
SETTING = InputSpec((3, 8, 16), 10)
TINY = {
    "type": "hourglass",
    "patch": 2,
    "depth": 1,
    "width": 32,
    "heads": 2,
    "outer_widths": [0.5],
    "outer_depths": [1],
    "outer_attention": {"type": "neighborhood", "window": 3},
    "mapping_layers": 1,
    "mapping_width": 24,
}


def network(**fields):
    torch.manual_seed(0)
    made = ablate.create("backbone", {**TINY, **fields}).build(SETTING)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def inputs():
    torch.manual_seed(1)
    return torch.randn(2, 3, 8, 16), torch.rand(2), torch.tensor([3, 10])


def test_the_paper_s_size():
    """557 M parameters and 198 Gflops; ours has biases too, and no augmentation labels."""
    cost = ablate.cost(MODELS / "hdit_imagenet256.yaml")
    assert abs(cost.params / 1e6 - 557) < 1
    assert round(cost.gflops) == 198


def test_is_what_the_paper_describes():
    """The whole network with plain functions, from its own weights, in fp64."""
    made = network().double().eval()
    x, noise, labels = inputs()
    x, w = x.double(), dict(made.named_parameters())

    def linear(t, name):
        return F.linear(t, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(t, name=None):
        normed = t / (t.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return normed if name is None else normed * w[f"{name}.weight"]

    def geglu(t, name):
        gate, value = linear(t, f"{name}.up").chunk(2, -1)
        return linear(F.gelu(gate) * value, f"{name}.down")

    def turned(t, rows, columns):
        """Half of the pairs (i, i + 8) turn with the row, half with the column."""
        rates = torch.exp(-math.log(10_000) / 4 * torch.arange(4))
        r = (torch.arange(rows)[:, None] * rates).double()[:, None].expand(-1, columns, -1)
        c = (torch.arange(columns)[:, None] * rates).double()[None].expand(rows, -1, -1)
        angles = torch.cat([r, c], -1).flatten(0, 1)
        a, b = t.chunk(2, -1)
        return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)

    def block(t, e, name, rows, columns, window):
        """window: None where all see all."""
        scales = linear(e, f"{name}.modulation.linear")[:, None].chunk(2, -1)
        h = norm(t) * (1 + scales[0])
        heads = t.shape[-1] // 16
        parts = linear(h, f"{name}.attention.branch.qkv").chunk(3, -1)
        q, k, v = (part.view(2, -1, heads, 16).transpose(1, 2) for part in parts)
        logits = turned(q, rows, columns) @ turned(k, rows, columns).transpose(-1, -2) / 4
        if window is not None:
            logits = logits.masked_fill(~seen(rows, columns, window), -torch.inf)
        t = t + linear((logits.softmax(-1) @ v).transpose(1, 2).flatten(2), f"{name}.attention.branch.out")
        return t + geglu(norm(t) * (1 + scales[1]), f"{name}.mlp.branch")

    rates = torch.exp(-math.log(10_000) / 128 * torch.arange(128))  # in fp32, as the network has them
    angles = (noise[:, None] * rates).double()
    e = linear(torch.cat([angles.cos(), angles.sin()], -1), "condition.condition.level.first")
    e = linear(F.silu(e), "condition.condition.level.second") + w["condition.condition.label.weight"][labels]
    e = norm(e, "condition.norms.0")
    e = e + geglu(norm(e, "condition.norms.1"), "condition.mlps.0")
    e = norm(e, "condition.norms.2")

    tokens = linear(F.unfold(x, 2, stride=2).transpose(1, 2), "patches.0.embed")
    passed = tokens = block(tokens, e, "stacks.0.0", 4, 8, 3)
    maps = tokens.transpose(1, 2).unflatten(2, (4, 8))
    tokens = linear(F.unfold(maps, 2, stride=2).transpose(1, 2), "patches.1.embed")
    tokens = block(tokens, e, "stacks.1.0", 2, 4, None)
    back = linear(tokens, "splits.0").view(2, 2, 4, 2, 2, 16).permute(0, 1, 3, 2, 4, 5).reshape(2, 32, 16)
    tokens = torch.lerp(passed, back, w["skips.0.fusion.factor"])
    tokens = block(tokens, e, "stacks.2.0", 4, 8, 3)
    out = linear(norm(tokens, "head.norm"), "head.linear").view(2, 4, 8, 2, 2, 3)
    image = out.permute(0, 5, 1, 3, 2, 4).reshape(2, 3, 8, 16)
    with torch.no_grad():
        assert (made(x, noise, labels) - image).abs().max() <= 1e-6 * image.abs().max()


def seen(rows, columns, window):
    """Return which patches a patch sees, by the words of Hassani et al. 2023: the nearest window within the grid."""
    size = min(window, rows), min(window, columns)
    mask = torch.zeros(rows * columns, rows * columns, dtype=torch.bool)
    for i in range(rows):
        for j in range(columns):
            top = min(max(i - window // 2, 0), rows - size[0])
            left = min(max(j - window // 2, 0), columns - size[1])
            for a in range(top, top + size[0]):
                mask[i * columns + j, a * columns + left : a * columns + left + size[1]] = True
    return mask


@pytest.mark.parametrize(("grid", "window"), [((6, 5), 3), ((4, 9), 5), ((1, 7), 7), ((3, 3), 1)])
@pytest.mark.parametrize("joined", [0, 2])
def test_neighbourhood_attention_is_attention_with_a_mask(grid, window, joined):
    torch.manual_seed(0)
    count = grid[0] * grid[1]
    q, k, v = torch.randn(3, 2, 2, joined + count, 8, dtype=torch.float64)
    mask = torch.ones(joined + count, joined + count, dtype=torch.bool)
    mask[joined:, joined:] = seen(*grid, window)
    made = NeighborhoodProduct(grid, window)(q, k, v)
    torch.testing.assert_close(made, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def test_costs_what_is_counted_by_hand():
    """Linear layers and attention, token by token; and the same by torch's own counter."""
    spec = {**TINY, "conditioning": "adaln_scale"}
    cost = ablate.cost({"backbone": spec}, SETTING.shape, 10)

    def block(tokens, width, pairs):
        inner = round(4 * width * (2 * width + 1) / (3 * width + 2))
        return tokens * (4 * width**2 + 3 * width * inner) + 2 * tokens * pairs * width + 24 * 2 * width

    mapped = 256 * 24 + 24 * 24 + 3 * 24 * round(96 * 49 / 74)
    outer, inner = block(32, 16, 9), block(8, 32, 8)
    merged = 8 * 64 * 32 * 2  # there and back
    image = 32 * 12 * 16 * 2
    assert cost.macs == mapped + 2 * outer + inner + merged + image
    norms = 3 * 24 + 2 * 2 * 32 * 16 + 2 * 8 * 32 + 32 * 16
    assert cost.gflops == pytest.approx((cost.macs + norms) / 1e9)
    made = network()
    x, noise, labels = inputs()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made.to("meta")(x[:1].to("meta"), noise[:1].to("meta"), labels[:1].to("meta"))
    assert counter.get_total_flops() == 2 * cost.macs


def test_adds_nothing_at_first_and_then_learns():
    torch.manual_seed(0)
    made = ablate.create("backbone", TINY).build(SETTING)
    x, noise, labels = inputs()
    assert not made(x, noise, labels).any()
    told = made.condition(noise, labels)
    tokens, layout = made.patches[0](x, told)
    block = made.stacks[0][0]
    assert torch.equal(block(tokens, told, layout), tokens)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        made(x, noise, labels).sub(1).square().mean().backward()
        optimizer.step()
    assert not torch.allclose(block(tokens.detach(), told, layout), tokens)


OPTIONS = [
    *({"conditioning": name} for name in ("adaln", "adaln_zero", "additive", "in_context", "cross_attention")),
    {"registers": 2, "positions": "sincos_rope", "mlp": "swiglu", "norm": "layer", "qk_norm": "cosine"},
    {"second_label": True, "learned_sigma": True, "residual": "learned", "norm_placement": "sandwich"},
    {"attention": "ssm", "outer_attention": "windowed", "fusion": "concat", "mapping_layers": 0},
    {"outer_attention": "softmax", "routing": {"type": "merge", "before": 0, "after": 0}, "depth": 3},
    {
        "outer_widths": [0.5, 0.5],
        "outer_depths": [2, 1],
        "without": [0, 3],
        "fusion": {"type": "concat", "project": False},
    },
]


@pytest.mark.parametrize("fields", OPTIONS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_every_option_reaches_every_parameter(fields):
    made = network(**fields).train()
    x, noise, labels = inputs()
    out = made(x, noise, labels, *([noise / 2] if fields.get("second_label") else []))
    assert out.shape == (2, 6 if fields.get("learned_sigma") else 3, 8, 16)
    out.square().mean().backward()
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"base_width": 16, "head_width": 16}, "leave base_width out"),
        ({"outer_depths": [1, 1]}, "outer_widths has 1 numbers, and outer_depths 2"),
        ({"outer_widths": [0.3]}, r"outer width 0.3 of 32 is 9.6 numbers, not a multiple of 4; the nearest: 0.25"),
        ({"heads": 3, "attention": "mamba"}, "3 heads do not divide the width 32; the nearest that do: 2"),
        ({"heads": 1}, "heads of 32 .* such as head_width: 16"),
        ({"outer_widths": [0.5] * 4, "outer_depths": [1] * 4}, "do not tile 8×16; it does for 2 outer levels"),
        ({"patch": 3}, "do not tile 8×16; take another patch"),
        ({"outer_attention": {"type": "neighborhood", "window": 4}}, "a window of 4 has no middle; the nearest: 5"),
        ({"without": [3]}, "there is no block 3"),
    ],
)
def test_what_does_not_fit_is_refused(fields, words):
    with pytest.raises(SpecError, match=words):
        ablate.cost({"backbone": {**TINY, **fields}}, SETTING.shape, 10)


def test_one_token_within_is_refused():
    with pytest.raises(SpecError, match="its innermost level has one token for 4×4"):
        ablate.cost({"backbone": TINY}, (3, 4, 4), 10)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"routing": "mask", "outer_attention": "softmax"}, "pass by the innermost one what is hidden there"),
        ({"routing": "merge"}, "lie on the whole grid of patches"),
        ({"attention": {"type": "softmax", "value_residual": "fixed"}}, "take a transformer, or value_residual: none"),
    ],
)
def test_what_does_not_go_together_is_refused(part, words):
    problems = misfits(compose({"backbone": {**TINY, **part}}, catalog()), None, SETTING, provided={"labels"})
    assert any(words in problem.message for problem in problems), problems


def test_what_no_level_reads_is_told():
    made = ablate.create("backbone", {**TINY, "attention": "ssm"})
    assert "heads" not in made.unread_fields()
    made = ablate.create("backbone", {**TINY, "attention": "ssm", "outer_attention": "ssm"})
    assert "heads" in made.unread_fields()
