"""backbone `dimr`: as printed, to its formulas, its options, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ablate
from ablate.candidates.candidate import compose, misfits
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.spec.component import InputSpec
from ablate.study.yaml import read
from ablate_zoo.layers.norms import TimeDependentNorm

MODELS = Path(__file__).parents[2] / "studies" / "models"
SETTING = InputSpec((3, 8, 16), 10)
TINY: dict[str, Any] = {
    "type": "dimr",
    "patch": 2,
    "depth": 3,
    "width": 16,
    "heads": 2,
    "branch_widths": [0.5],
    "branch_depths": [3],
    "kernel": 3,
}


def network(**fields: Any) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = ablate.create("backbone", {**TINY, **fields}).build(SETTING)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 3, 8, 16), torch.tensor([0.3, 700.0]), torch.tensor([3, 10])


@pytest.mark.parametrize(
    ("changes", "params", "gflops"),
    [({}, "505 M", 160), ({"depth": 57, "width": 1152, "branch_depths": [29]}, "1.06 B", 331)],
    ids=["XL/2R", "G/2R"],
)
def test_the_paper_s_sizes(changes: dict[str, Any], params: str, gflops: int) -> None:
    """Table 2, and the authors' README. Ours has a token of the timestep more, and norms around the blocks are RMS."""
    backbone = read(MODELS / "dimr_xl_2r.yaml").data["backbone"]
    cost = ablate.cost({"backbone": {**backbone, **changes}}, (4, 32, 32), 1000)
    told = f"{cost.params / 1e6:.0f} M" if cost.params < 1e9 else f"{cost.params / 1e9:.2f} B"
    assert told == params
    assert cost.gflops == pytest.approx(gflops, rel=0.005)


def test_is_what_the_paper_describes() -> None:
    """The whole network with plain functions, from its own weights, in fp64."""
    made = network().double().eval()
    x, noise, labels = inputs()
    x, w = x.double(), dict(made.named_parameters())

    def linear(t: Tensor, name: str) -> Tensor:
        return F.linear(t, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def over_time(name: str) -> Tensor:
        share = torch.sigmoid(torch.asinh(noise).double()[:, None] * w[f"{name}.slope"] + w[f"{name}.offset"])
        return (share * w[f"{name}.first"] + (1 - share) * w[f"{name}.second"])[:, None]

    def norm(t: Tensor, name: str) -> Tensor:
        return F.layer_norm(t, t.shape[-1:], eps=1e-6) * over_time(f"{name}.scale") + over_time(f"{name}.shift")

    def mlp(t: Tensor, name: str) -> Tensor:
        gate, value = linear(norm(t, f"{name}.before"), f"{name}.branch.up").chunk(2, -1)
        return t + linear(F.gelu(gate) * value, f"{name}.branch.down")

    def attend(t: Tensor, name: str) -> Tensor:
        parts = linear(norm(t, f"{name}.before"), f"{name}.branch.qkv").chunk(3, -1)
        q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in parts)
        shares = (q @ k.mT / 8**0.5).softmax(-1)
        return t + linear((shares @ v).transpose(1, 2).flatten(2), f"{name}.branch.out")

    def skip(t: Tensor, s: Tensor, name: str) -> Tensor:
        return (
            F.linear(t, w[f"{name}.decoder.weight"][:, :, 0, 0], w[f"{name}.decoder.bias"])
            + s @ w[f"{name}.skip.weight"][:, :, 0, 0].mT
        )

    def convolve(t: Tensor, name: str) -> Tensor:
        maps = t.transpose(1, 2).unflatten(2, (8, 16))
        kernel = f"{name}.branch.convolution"
        return t + F.conv2d(maps, w[f"{kernel}.weight"], w[f"{kernel}.bias"], padding=1, groups=8).flatten(2).mT

    def patches(size: int, branch: int) -> Tensor:
        tokens = linear(F.unfold(x, size, stride=size).transpose(1, 2), f"branches.{branch}.tokens.embed")
        return tokens + made.get_submodule(f"branches.{branch}.tokens.positions")(torch.zeros_like(tokens))

    context = made.get_submodule("condition")(noise, labels, None)
    first = made.get_submodule("branches.0.tokens.sequence")(context).double()
    assert first.shape == (2, 2, 16)  # timestep and class

    t = torch.cat([first, patches(2, 0)], 1)
    seen = [t]
    for i in range(3):
        name = f"branches.0.blocks.{i}"
        if i == 2:  # the mirror image of the first block
            t = skip(t, seen[1], "branches.0.skips.0.fusion")
        t = mlp(attend(t, f"{name}.attention"), f"{name}.mlp")
        seen.append(t)
    h = norm(torch.cat([part[:, 2:] for part in seen], -1), "cascades.0.before")
    h = linear(h, "cascades.0.linear").view(2, 4, 8, 2, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(2, 128, 8)
    t = patches(1, 1) + norm(h, "cascades.0.behind")
    t = after = mlp(convolve(t, "branches.1.blocks.0.attention"), "branches.1.blocks.0.mlp")
    t = mlp(convolve(t, "branches.1.blocks.1.attention"), "branches.1.blocks.1.mlp")
    t = skip(t, after, "branches.1.skips.0.fusion")
    t = mlp(convolve(t, "branches.1.blocks.2.attention"), "branches.1.blocks.2.mlp")
    maps = norm(t, "head.norm").transpose(1, 2).unflatten(2, (8, 16))
    image = F.conv2d(maps, w["head.convolution.weight"], w["head.convolution.bias"], padding=1)
    with torch.no_grad():
        assert (made(x, noise, labels) - image).abs().max() <= 1e-6 * image.abs().max()


def test_costs_what_is_counted_by_hand() -> None:
    """Linear layers, convolutions and attention, patch by patch; and the same by torch's own counter."""
    cost = ablate.cost({"backbone": {**TINY, "time_mlp": False}}, SETTING.shape, 10)
    n, d, e = 32, 16, 8  # patches of the first branch, and its width; the width of the second
    inner = [round(4 * width * (2 * width + 1) / (3 * width + 2)) for width in (d, e)]
    first = 3 * ((n + 2) * (4 * d * d + 3 * d * inner[0]) + 2 * (n + 2) ** 2 * d) + (n + 2) * 2 * d * d + n * 12 * d
    second = 4 * n * (3 * (9 * e + 3 * e * inner[1]) + 2 * e * e + 3 * e + 27 * e)
    assert cost.macs == first + second + n * 4 * d * 4 * e
    made = network(time_mlp=False)
    x, noise, labels = inputs()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made.to("meta")(x[:1].to("meta"), noise[:1].to("meta"), labels[:1].to("meta"))
    assert counter.get_total_flops() == 2 * cost.macs


def test_a_pixel_learns_from_the_whole_image() -> None:
    """Through the first branch; the second alone sees no further than its convolutions."""
    made = network().eval()
    x, noise, labels = inputs()
    x.requires_grad_()
    made(x, noise, labels)[0, :, 0, 0].sum().backward()
    assert x.grad is not None and x.grad[0, :, -1, -1].abs().sum() > 0
    x.grad = None
    for parameter in made.get_submodule("cascades").parameters():
        parameter.data.zero_()
    made(x, noise, labels)[0, :, 0, 0].sum().backward()
    assert x.grad is not None and x.grad[0, :, :, 8:].abs().sum() == 0


OPTIONS: list[dict[str, Any]] = [
    {},
    *(
        {"conditioning": name, "norm": "layer", "patch": 4, "branch_widths": [0.5, 0.25], "branch_depths": [1, 3]}
        for name in ("adaln", "adaln_zero", "adaln_scale", "additive", "cross_attention")
    ),
    {"registers": 2, "positions": "rope", "mlp": "swiglu", "norm": "rms", "qk_norm": "cosine", "fusion": "add"},
    {"second_label": True, "learned_sigma": True, "norm_placement": "sandwich", "init": "normal"},
    {"attention": "ssm", "parallel": True, "norm_placement": "pre", "without": [0, 4], "time_mlp": False},
    {"norm_placement": "post", "residual": "learned", "patch": 4},  # the finest patches have two pixels a side
]


@pytest.mark.parametrize("fields", OPTIONS, ids=lambda fields: "-".join(map(str, fields.values())) or "plain")
def test_every_option_reaches_every_parameter(fields: dict[str, Any]) -> None:
    made = network(**fields).train()
    x, noise, labels = inputs()
    out = made(x, noise, labels, *([noise / 2] if fields.get("second_label") else []))
    assert out.shape == (2, 6 if fields.get("learned_sigma") else 3, 8, 16)
    out.square().mean().backward()
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


def test_every_norm_is_told_the_noise() -> None:
    made = network()
    told: list[Tensor] = []
    norms = [module for module in made.modules() if isinstance(module, TimeDependentNorm)]
    for norm in norms:
        norm.register_forward_pre_hook(lambda _, args: told.append(args[1]))
    x, noise, labels = inputs()
    made(x, noise, labels)
    assert len(told) == len(norms) == 2 * 3 + 3 + 2 + 1  # attention and MLP; MLP alone; the cascade's; the head's
    assert all(torch.equal(one, noise) for one in told)


def test_begins_at_zero_and_then_learns() -> None:
    torch.manual_seed(0)
    made: nn.Module = ablate.create("backbone", TINY).build(SETTING)
    x, noise, labels = inputs()
    assert not made(x, noise, labels).any()
    optimizer, losses = torch.optim.Adam(made.parameters(), lr=3e-3), []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(made(x, noise, labels).sub(x).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"base_width": 16, "head_width": 8}, "leave base_width out"),
        ({"t_fixup": True}, "say t_fixup: false"),
        ({"kernel": 4}, "a kernel of 4 has no middle; the nearest: 5"),
        ({"branch_depths": [1, 1]}, "branch_widths has 1 numbers, and branch_depths 2"),
        ({"branch_depths": [4]}, "a branch of 4 blocks has none in the middle"),
        ({"branch_widths": [0.3]}, r"branch width 0.3 of 16 is 4.8 numbers, not a multiple of 4; the nearest: 0.25"),
        ({"patch": 3}, "patches of 3 cannot be halved 1 times, once a further branch; take patch: 4"),
        ({"patch": 1}, "patches of 1 cannot be halved 1 times, once a further branch; take patch: 2"),
        ({"patch": 6}, "patch 6 does not divide 8×16; the nearest that does: 4"),
        ({"conditioning": "adaln"}, "say norm_affine: always, or take a conditioning by tokens"),
        ({"without": [6]}, "there is no block 6"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ablate.cost({"backbone": {**TINY, **fields}}, SETTING.shape, 10)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"routing": "merge"}, "its branches hand on the features of all patches"),
        ({"attention": {"type": "softmax", "value_residual": "fixed"}}, "take a transformer, or value_residual: none"),
    ],
)
def test_what_does_not_go_together_is_refused(part: dict[str, Any], words: str) -> None:
    problems = misfits(compose({"backbone": {**TINY, **part}}, catalog()), None, SETTING, provided={"labels"})
    assert any(words in problem.message for problem in problems), problems
