"""Fusions: what each computes, and what holds of all."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

import ablate
from ablate.api import Context, Fusion, slot
from ablate.candidates.flops import measure
from ablate.candidates.vary import make_space
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.spec.component import Config
from ablate.spec.slots import create
from ablate_zoo.fusion._modules import low_pass
from ablate_zoo.layers.norms import group_norm
from ablate_zoo.layers.skip_attention import SkipAttention, pool

C, S, E = 16, 24, 8
GATES = ["none", "time", "channel", "spatial", "cross_attention", "product"]
EVERY = [
    "add",
    "renorm_add",
    {"type": "renorm_add", "norm": "adaptive_group"},
    "concat",
    {"type": "concat", "project": False, "gate": "time"},
    *({"type": "gated", "gate": gate} for gate in GATES),
    "attention",
    {"type": "attention", "keys": "windowed", "window": 3, "gate": "time"},
    {"type": "attention", "most_keys": 4},
    {"type": "frequency", "scales": "time"},
    {"type": "frequency", "merge": "concat"},
]


def told(spec):
    return spec if isinstance(spec, str) else "-".join(str(v) for v in spec.values())


every = pytest.mark.parametrize("spec", EVERY, ids=told)


def fusion(spec, channels=C, skip=C, live=True, **fields):
    """The module of a fusion in eval(), its weights moved unless they are to be those of the start."""
    spec = {"type": spec, **fields} if isinstance(spec, str) else {**spec, **fields}
    torch.manual_seed(0)
    module = ablate.create("fusion", spec).build(channels, skip, E).eval()
    if live:
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.3 * torch.randn(p.shape))
    return module


def features(skip=C, size=(6, 6), batch=3, seed=1):
    torch.manual_seed(seed)
    d, s = torch.randn(batch, C, *size), 2 * torch.randn(batch, skip, *size) + 1
    return d, s, Context(torch.randn(batch, E), torch.randn(batch, 2, E), torch.rand(batch) * 999)


def normalised(s, groups):
    """Zero mean and unit variance within groups of channels, written out."""
    x = s.reshape(len(s), groups, -1)
    x = (x - x.mean(-1, keepdim=True)) / x.var(-1, correction=0, keepdim=True).sqrt()
    return x.reshape(s.shape)


# --- what each computes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norm", "learned", "per_channel", "renorm"),
    list(itertools.product(["group", "adaptive_group", "none"], [False, True], [False, True], [False, True])),
)
def test_renorm_add_is_its_three_steps(norm, learned, per_channel, renorm):
    module = fusion("renorm_add", norm=norm, learned=learned, per_channel=per_channel, renorm=renorm, alpha=0.7)
    d, s, context = features()
    hat = s if norm == "none" else normalised(s, 4)
    if norm == "adaptive_group":
        scale, shift = module.norm.regress(F.silu(context.embedding)).chunk(2, dim=1)
        hat = hat * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    alpha = module.alpha if learned else torch.tensor(0.7)
    assert sum(p is module.alpha for p in module.parameters()) == learned
    assert alpha.numel() == (C if learned and per_channel else 1)
    expected = (d + alpha * hat) / (torch.sqrt(1 + alpha**2) if renorm else 1)
    assert torch.allclose(module(d, s, context), expected, atol=1e-5)


def test_renorm_add_without_its_steps_is_add():
    bare = fusion("renorm_add", norm="none", learned=False, alpha=1.0, renorm=False)
    assert torch.equal(bare(*features()), fusion("add")(*features()))


@pytest.mark.parametrize("gate", GATES)
def test_gated_is_its_formula(gate):
    module = fusion("gated", gate=gate)
    d, s, context = features()
    hat = normalised(s, 4)
    g = torch.tensor(1.0) if gate == "none" else module.gate(d, hat, context)
    assert gate == "none" or (g.max() < 1 and g.min() > 0 and g.std() > 0)
    assert torch.allclose(module(d, s, context), (d + g * hat) / torch.sqrt(1 + g**2), atol=1e-5)


def test_concat_is_one_convolution_of_both():
    d, s, context = features(S)
    module = fusion("concat", skip=S, gate="channel")
    g = module.gate(d, s, context)
    weight = torch.cat([module.decoder.weight, module.skip.weight], dim=1)  # (C, C + S, 1, 1)
    expected = F.conv2d(torch.cat([d, g * s], dim=1), weight, module.decoder.bias)
    assert torch.allclose(module(d, s, context), expected, atol=1e-5)
    assert torch.equal(fusion("concat", skip=S, project=False)(d, s, context), torch.cat([d, s], dim=1))


def attention_by_hand(module, d, s, mask):
    """softmax(QKᵀ/√h)V over (B, C, H, W), with mask (N, N) saying what looks where."""
    x, y = (normalised(t, t.shape[1] // 4).flatten(2).transpose(1, 2) for t in (d, s))
    q, (k, v) = module.query(x), module.key_value(y).chunk(2, dim=-1)
    heads = []
    for one in range(module.heads):
        part = slice(one * 8, (one + 1) * 8)
        logits = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(8)
        heads.append(logits.masked_fill(~mask, -torch.inf).softmax(-1) @ v[..., part])
    return module.out(torch.cat(heads, dim=-1)).transpose(1, 2).reshape(d.shape)


@pytest.mark.parametrize(("size", "window", "side"), [((7, 5), None, (7, 5)), ((7, 5), 3, (3, 3)), ((4, 9), 4, (4, 3))])
def test_attention_looks_where_it_says(size, window, side):
    """Over all of a small skip; within windows that are as even as they can be, none of whose padding counts."""
    torch.manual_seed(0)
    module = SkipAttention(C, S, C, head_width=8, window=window)
    torch.nn.init.normal_(module.out.weight)
    d, s, _ = features(S, size)
    row, column = (i.flatten() for i in torch.meshgrid(*map(torch.arange, size), indexing="ij"))
    window_of = row // side[0] * 100 + column // side[1]
    expected = attention_by_hand(module, d, s, window_of[:, None] == window_of)
    assert module.heads == 2
    assert torch.allclose(module(d, s), expected, atol=1e-5)


@pytest.mark.parametrize(("size", "most"), [((16, 16), 16), ((15, 7), 20), ((1, 50), 8), ((50, 1), 1), ((3, 3), 9)])
def test_pooled_keys_are_means_and_no_more_than_wanted(size, most):
    pooled = pool(torch.ones(1, 2, *size), most)
    assert pooled.shape[2] * pooled.shape[3] <= most
    assert torch.allclose(pooled, torch.ones(()))  # also at the edges, where less is there
    assert pooled.shape[2:] == size or size[0] * size[1] > most


def test_attention_begins_as_the_decoder():
    d, s, context = features(S)
    assert torch.equal(fusion("attention", skip=S, live=False)(d, s, context), d)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 6), (1, 1)])
def test_low_pass_is_its_transfer_function(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    rows, columns = (2 * torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    r = torch.sqrt(rows[:, None] ** 2 + columns**2)
    expected = torch.fft.ifft2(torch.fft.fft2(x) / (1 + (r / 0.25) ** 4)).real
    assert torch.allclose(low_pass(x, 0.25), expected, atol=1e-6)


def test_low_pass_splits_tones():
    """A constant passes whole, half of a tone at the cutoff, nothing of a chequerboard."""
    place = torch.arange(16.0)
    tone = torch.cos(math.pi * 0.25 * place).expand(1, 1, 16, 16)
    board = ((-1.0) ** (place[:, None] + place)).expand(1, 1, 16, 16)
    assert torch.allclose(low_pass(torch.ones(1, 1, 16, 16), 0.25), torch.ones(()))
    assert torch.allclose(low_pass(tone, 0.25), 0.5 * tone, atol=1e-5)
    assert low_pass(board, 0.25).abs().max() < 2e-3


@pytest.mark.parametrize("merge", ["add", "concat"])
@pytest.mark.parametrize("scales", ["fixed", "learned", "time"])
def test_frequency_scales_two_bands(merge, scales):
    module = fusion("frequency", skip=S, scales=scales, merge=merge, low=0.5, high=1.5)
    d, s, context = features(S)
    low = low_pass(s, 0.25)
    a = module.bands.scale[..., None, None]  # (2, C or 1, 1, 1): low, high
    if scales == "time":
        a = torch.tensor([0.5, 1.5]).view(2, 1, 1, 1, 1)
        level = torch.asinh(context.noise)[:, None]
        a = a * 2 * torch.sigmoid(module.bands.bias + module.bands.slope * level)[..., None, None]
    expected = module.merge(d, a[0] * low + a[1] * (s - low), context)
    assert torch.allclose(module(d, s, context), expected, atol=1e-4)


def test_frequency_of_unit_scales_is_add():
    d, s, context = features()
    for scales in ("fixed", "learned", "time"):
        y = fusion("frequency", live=False, scales=scales)(d, s, context)
        assert torch.allclose(y, d + s, atol=1e-5)


# --- what holds of all --------------------------------------------------------------------------


@every
def test_a_dropped_skip_is_a_missing_skip(spec):
    """In training an image has its skip as in eval, or none, with probability p; in eval all have it."""
    p, batch = 0.3, 400
    d, s, context = features(batch=batch, size=(2, 2))
    plain, module = fusion(spec), fusion(spec, skip_dropout=p)
    name = spec if isinstance(spec, str) else spec["type"]
    with torch.no_grad():
        kept = module(d, s, context)
        assert torch.equal(kept, plain(d, s, context))
        if name == "concat" or (name == "frequency" and spec.get("merge") == "concat"):
            absent = plain(d, torch.zeros_like(s), context)
        else:
            absent = d
        y = module.train()(d, s, context)
    has, lacks = (torch.isclose(y, one, atol=1e-5).flatten(1).all(1) for one in (kept, absent))
    assert (has ^ lacks).all()
    assert abs(float(lacks.float().mean()) - p) < 4 * math.sqrt(p * (1 - p) / batch)


@every
def test_half_precision_keeps_statistics_in_fp32(spec):
    """bfloat16 features far from zero, under autocast, against fp32 on the same numbers; and layout is kept."""
    module = fusion(spec).to(memory_format=torch.channels_last)
    d, s, context = features(size=(7, 5), batch=2)
    d, s = (x.to(torch.bfloat16, memory_format=torch.channels_last) for x in (d, s + 20))
    with torch.no_grad():
        exact = module(d.float(), s.float(), context)
        with torch.autocast("cpu", torch.bfloat16):
            rough = module(d, s, context)
            mixed = module(d.float(), s, context)
    assert rough.dtype == torch.bfloat16
    for y in (rough, mixed):
        assert float((y.float() - exact).norm() / exact.norm()) < 0.02
    assert exact.is_contiguous(memory_format=torch.channels_last)
    assert rough.is_contiguous(memory_format=torch.channels_last)


class Root(Config):
    """A place for a fusion."""

    fusion: Fusion = slot("add")


def test_the_space_of_fusions_and_gates():
    """Drawn from the whole space, every candidate builds and trains on maps of any size and on few tokens."""
    import optuna

    vary = ["norm", "alpha", "learned", "per_channel", "renorm", "gate", "project", "keys", "window", "most_keys"]
    vary += ["scales", "merge", "cutoff", "gate.first", "gate.second", "gate.reduction", "skip_dropout", "head_width"]
    paths = {"fusion": "all"} | {f"fusion.{field}": "all" for field in vary}
    space = make_space(Root, {"fusion": "add"}, paths, catalog(), lambda spec: None)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    sizes = itertools.cycle([(5, 7), (1, 1), (3, 1), (17, 2), (8, 8)])
    seen = set()
    for _ in range(80):
        chosen = space.suggest(study.ask())
        part = create(Fusion, space.apply(chosen)["fusion"], catalog())
        seen |= {chosen["fusion"], f"gate {chosen.get('fusion.gate')}", f"second {chosen.get('fusion.gate.second')}"}
        torch.manual_seed(0)
        module = part.build(C, S, E)
        d, s, context = features(S, next(sizes))
        y = module(d.requires_grad_(), s, context)
        assert y.shape == (3, part.channels(C, S), *d.shape[2:])
        y.square().mean().backward()
        assert all(x.grad.isfinite().all() for x in (d, *module.parameters()) if x.grad is not None)
    assert set(catalog().names("fusion")) <= seen
    assert {f"gate {name}" for name in catalog().names("gate")} <= seen
    assert any(f"second {name}" in seen for name in catalog().names("gate"))


def test_matrix_work_is_counted():
    """Linear layers, convolutions and attention products on the meta device; the FFT is none of them."""

    class Net(torch.nn.Module):
        def __init__(self, spec):
            super().__init__()
            self.fusion = ablate.create("fusion", spec).build(C, S, E)

        def forward(self, x, noise, labels):
            context = Context(x.new_empty(1, E), x.new_empty(1, 1, E), noise)
            return self.fusion(x[:, :C], x[:, C:], context)

    def macs(spec):
        with torch.device("meta"):
            return measure(Net(spec), ablate.spec.component.InputSpec((C + S, 16, 20), None)).macs

    places, keys, inner = 16 * 20, 8 * 10, 32
    assert macs("add") == S * C * places
    assert macs("concat") == macs({"type": "frequency", "merge": "concat"}) == (C + S) * C * places
    pooled = places * C * inner + keys * S * 2 * inner + 2 * places * keys * inner + places * inner * C
    assert macs({"type": "attention", "most_keys": 128}) == pooled
    windowed = places * C * inner + places * S * 2 * inner + 2 * places * 16 * inner + places * inner * C
    assert macs({"type": "attention", "keys": "windowed", "window": 4}) == windowed
    assert macs("gated") == S * C * places


def test_group_norm_takes_few_channels_and_odd_numbers_of_them():
    for channels in (1, 2, 3, 7, 12, 97, 100, 192):
        normed = group_norm(5 + 3 * torch.randn(2, channels, 8, 8))
        assert normed.mean().abs() < 1e-5
        assert normed.var(correction=0) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "renorm_add", "norm": "grop"}, "did you mean 'group'"),
        ({"type": "gated", "gate": "tim"}, "did you mean 'time'"),
        ({"type": "gated", "gate": {"type": "product", "first": "channl"}}, "did you mean 'channel'"),
        ({"type": "gated", "gate": {"type": "channel", "reduction": 0}}, "greater than or equal to 1"),
        ({"type": "attention", "head_width": 12}, "multiple of 8"),
        ({"type": "frequency", "cutoff": 1.5}, "less than or equal to 1"),
        ({"type": "add", "skip_dropout": 1.0}, "less than 1"),
    ],
)
def test_bad_values_are_refused(spec, message):
    with pytest.raises(SpecError, match=message):
        ablate.create("fusion", spec)
