"""DDPM, DDPM++ and NCSN++ to their functions: written out over the network's own numbers, in fp64.

Ho et al. 2020 (appendix B); Song et al. 2021 (appendix H) as Karras et al. 2022 train them (appendix F).
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import ablate
from ablate.errors import SpecError
from ablate.spec.component import InputSpec
from ablate.study.yaml import read

MODELS = Path(__file__).parents[2] / "studies" / "models"
SETTING = InputSpec((3, 8, 8), 5)
TINY = {"width": 8, "multipliers": [1, 2], "blocks": 1, "groups": 4, "attention_resolutions": [4], "dropout": 0.0}


def network(name, **fields):
    spec = {**read(MODELS / f"{name}.yaml").data["backbone"], **TINY, **fields}
    torch.manual_seed(0)
    made = ablate.create("backbone", spec).build(SETTING).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():  # nothing is zero by initialisation
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


class Written:
    """The network's parts by the papers' formulas. eps: of group norm; scale: of each sum; way: of resampling."""

    def __init__(self, made, scale, resampled):
        self.w = {name: value.double() for name, value in made.state_dict().items()}
        self.scale, self.resampled = scale, resampled

    def norm(self, x, name):
        """Group norm, ε = 1e-6, four groups."""
        grouped = x.reshape(len(x), 4, -1)
        centred = grouped - grouped.mean(-1, keepdim=True)
        y = (centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()).reshape(x.shape)
        return y * self.w[f"{name}.weight"][:, None, None] + self.w[f"{name}.bias"][:, None, None]

    def conv(self, x, name):
        weight = self.w[f"{name}.weight"]
        return F.conv2d(x, weight, self.w[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def block(self, x, e, name, way=None):
        h = F.silu(self.norm(x, f"{name}.norm1"))
        if way:
            h, x = self.resampled(h, way), self.resampled(x, way)
        h = self.conv(h, f"{name}.conv1")
        bias = F.linear(F.silu(e), self.w[f"{name}.modulation.linear.weight"], self.w[f"{name}.modulation.linear.bias"])
        h = self.conv(F.silu(self.norm(h + bias[..., None, None], f"{name}.norm2")), f"{name}.conv2")
        return (h + (self.conv(x, f"{name}.skip") if f"{name}.skip.weight" in self.w else x)) * self.scale

    def attention(self, x, name):
        """One head over all pixels, QKᵀ/√C."""
        b, c, height, width = x.shape
        tokens = self.norm(x, f"{name}.norm").flatten(2).transpose(1, 2)
        qkv = F.linear(tokens, self.w[f"{name}.attention.qkv.weight"], self.w[f"{name}.attention.qkv.bias"])
        q, k, v = qkv.chunk(3, -1)
        y = (q @ k.transpose(1, 2) / math.sqrt(c)).softmax(-1) @ v
        y = F.linear(y, self.w[f"{name}.attention.out.weight"], self.w[f"{name}.attention.out.bias"])
        return (x + y.transpose(1, 2).reshape(b, c, height, width)) * self.scale

    def cell(self, x, e, name, way=None):
        x = self.block(x, e, f"{name}.body", way)
        return self.attention(x, f"{name}.attention") if f"{name}.attention.norm.weight" in self.w else x

    def embedding(self, waves):
        for layer in ("first", "second"):
            weight, bias = (self.w[f"condition.level.{layer}.{part}"] for part in ("weight", "bias"))
            waves = F.linear(waves if layer == "first" else F.silu(waves), weight, bias)
        return waves

    def head(self, x):
        return self.conv(F.silu(self.norm(x, "norm")), "head")


def positional(noise, size):
    """Cos and sin of frequencies from 1 down to 1/10,000 itself, in fp32 as the network has them."""
    half = size // 2
    angles = noise.float()[:, None] * torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half))
    return torch.cat([angles.cos(), angles.sin()], -1).double()


def box(x, way):
    return F.avg_pool2d(x, 2) if way == "down" else x.repeat_interleave(2, -1).repeat_interleave(2, -2)


def fir(x, way):
    """[1, 3, 3, 1] along each axis; each number by hand, zeros beyond the edge."""
    taps = torch.tensor([1, 3, 3, 1]).double() / 8
    for axis in (-1, -2):
        x = x.transpose(axis, -1)
        if way == "down":
            wide = F.pad(x, (1, 1))
            x = sum(tap * wide[..., i : i + x.shape[-1] : 2] for i, tap in enumerate(taps))
        else:  # zeros between the pixels; the filter's sum is 2, so that the mean stays
            spread = torch.zeros(*x.shape[:-1], 2 * x.shape[-1]).double()
            spread[..., ::2] = x
            wide = F.pad(spread, (2, 2))
            x = sum(2 * tap * wide[..., i : i + spread.shape[-1]] for i, tap in enumerate(taps))
        x = x.transpose(axis, -1)
    return x


def side_step(written, x, name):
    """The side path: the convolution over a margin as wide as the filter's, then the filter, then the bias."""
    y = F.conv2d(x, written.w[f"{name}.convolution.weight"], padding=2)
    taps = torch.tensor([1, 3, 3, 1]).double() / 8
    for axis in (-1, -2):
        y = y.transpose(axis, -1)
        count = (y.shape[-1] - 2) // 2
        y = sum(tap * y[..., i : i + 2 * count : 2] for i, tap in enumerate(taps)).transpose(axis, -1)
    return y + written.w[f"{name}.bias"][:, None, None]


def inputs():
    torch.manual_seed(1)
    return torch.randn(2, 3, 8, 8).double() / 30, torch.tensor([0.3, -1.1]).double(), torch.tensor([1, 5])


def agree(ours, theirs):
    assert ours.std() > 1e-3 and (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


@pytest.mark.parametrize("name", ["edm_cifar10_ddpmpp", "edm_cifar10_ncsnpp"])
def test_ddpm_pp_and_ncsn_pp(name):
    made = network(name, noise_features=8 if "ddpmpp" in name else 16, stem_width=8)
    x, noise, labels = inputs()
    written = Written(made, math.sqrt(0.5), box if "ddpmpp" in name else fir)
    if "ddpmpp" in name:
        waves = positional(noise, 8)
    else:
        angles = 2 * math.pi * noise.float()[:, None] * written.w["condition.level.waves.frequency"]
        waves = torch.cat([angles.cos(), angles.sin()], -1)
    e = written.embedding(waves + written.w["condition.label.weight"][labels])  # the class before the two layers
    aux, h = x, written.conv(x, "stem")
    skips = [h]
    for i, way in enumerate([None, "down", None]):
        h = written.cell(h, e, f"encoder.{i}", way)
        if way and "ncsnpp" in name:
            h = aux = (h + side_step(written, aux, f"side.{i}")) / math.sqrt(2)
        skips.append(h)
    for i in range(2):
        h = written.cell(h, e, f"middle.{i}")
    for i, way in enumerate([None, None, "up", None, None]):
        h = written.cell(h if way else torch.cat([h, skips.pop()], 1), e, f"decoder.{i}", way)
    with torch.no_grad():
        agree(made(x, noise, labels), written.head(h))


def test_ddpm():
    """Sines first in its embedding; convolutions of stride 2 with zeros behind the last row and column alone."""
    made = network("ddpm_cifar10")
    x, noise, labels = inputs()
    written, noise = Written(made, 1.0, box), noise.abs() * 500
    sines = positional(noise, 8).roll(4, dims=1)  # sin, cos
    first = written.w["condition.level.first.weight"]
    written.w["condition.level.first.weight"] = first.roll(4, dims=1)  # theirs, mapped
    e = written.embedding(sines) + written.w["condition.label.weight"][labels]
    down = {part: written.w[f"encoder.1.body.convolution.convolution.{part}"] for part in ("weight", "bias")}
    h = written.conv(x, "stem")
    skips = [h, h := written.cell(h, e, "encoder.0")]
    skips.append(h := F.conv2d(F.pad(h, (0, 1, 0, 1)), down["weight"], down["bias"], stride=2))
    skips.append(h := written.cell(h, e, "encoder.2"))
    for i in range(2):
        h = written.cell(h, e, f"middle.{i}")
    for i in (0, 1):
        h = written.cell(torch.cat([h, skips.pop()], 1), e, f"decoder.{i}")
    h = written.conv(box(h, "up"), "decoder.2.body.convolution")
    for i in (3, 4):
        h = written.cell(torch.cat([h, skips.pop()], 1), e, f"decoder.{i}")
    with torch.no_grad():
        agree(made(x, noise, labels), written.head(h))


def test_padding_belongs_to_convolutions_of_stride_two():
    with pytest.raises(SpecError, match="say padding: both"):
        ablate.create("backbone", {"type": "unet", "down": "residual", "padding": "end"})


def test_groups_may_follow_the_channels():
    """As in EDM's networks: 32 groups, or fewer of four channels each."""
    fields = {"groups": 32, "least_group": 4, "width": 16, "multipliers": [1, 3]}
    made = ablate.create("backbone", {"type": "unet", **TINY, **fields}).build(SETTING)
    norms = {m.num_channels: m.num_groups for m in made.modules() if isinstance(m, torch.nn.GroupNorm)}
    assert norms == {16: 4, 48: 12}
    with pytest.raises(SpecError, match="32 groups do not divide 16 channels"):
        ablate.create("backbone", {"type": "unet", **TINY, **fields, "least_group": None})
