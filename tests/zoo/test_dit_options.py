"""The options of the transformers, each against its formula, and their whole space by random draws."""

from __future__ import annotations

import math
import os
import random
from typing import get_args, get_origin

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ablate
from ablate.api import Choice, Context, InputSpec, Modulation, Range
from ablate.candidates.candidate import compose, cost_of, misfits
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.spec.slots import slot_kind
from ablate_zoo.backbone._transformer_modules import PatchTokens, ResidualBranch
from ablate_zoo.layers import mlp as mlps
from ablate_zoo.layers.attention import DotProduct, LinearProduct, SelfAttention
from ablate_zoo.layers.embedding import ContextTokens, rotate
from ablate_zoo.layers.mlp import MLP, SwiGLU
from ablate_zoo.layers.norms import CosineQueryKey, RMSQueryKey
from ablate_zoo.positions._modules import Rope2d
from ablate_zoo.residual._modules import LayerScale

SETTING = InputSpec((3, 8, 8), 10)
TINY = {"patch": 2, "depth": 2, "width": 32, "heads": 4}
DRAWS = int(os.environ.get("ABLATE_CANDIDATES", "60"))


def network(setting=SETTING, **fields):
    torch.manual_seed(0)
    return ablate.create("backbone", {"type": "dit", **TINY, **fields}).build(setting)


def stirred(module):
    """The same module with every parameter moved, so that nothing is zero by initialisation."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return module.eval()


def inputs(batch=3):
    torch.manual_seed(1)
    return torch.randn(batch, 3, 8, 8), torch.rand(batch) * 999, torch.arange(batch) % 11


OPTIONS = [
    *({"norm_placement": p, "conditioning": c} for p in ("post", "sandwich") for c in ("in_context", "adaln_zero")),
    *({"norm": "rms", "norm_affine": a} for a in ("always", "never")),
    {"conditioning": "additive"},
    {"qk_norm": "cosine"},
    {"qk_norm": "rms", "qkv_bias": False},
    {"positions": "learned"},
    {"positions": "rope", "conditioning": "in_context"},
    {"attention": "linear", "positions": "rope", "qk_norm": "rms"},
    {"mlp": "gelu"},
    {"mlp": "swiglu"},
    {"parallel": True, "conditioning": "cross_attention"},
    {"residual": "fixed"},
    {"residual": "learned", "residual_beta": 0.5, "zero_init": False},
]


@pytest.mark.parametrize("fields", OPTIONS, ids=lambda f: "-".join(map(str, f.values())))
def test_every_option_reaches_every_parameter_and_bf16_agrees(fields):
    """bf16 has 8 bits: within 3 % of fp32 in the norm."""
    made = stirred(network(**fields))
    exact = made(*inputs())
    exact.square().mean().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        rough = made(*inputs()).float()
    assert (rough - exact).norm() < 0.03 * exact.norm()
    assert not torch.equal(exact, stirred(network())(*inputs()))  # it makes a difference


def test_blocks_start_as_the_identity_where_the_conditioning_says_so():
    claiming = [
        entry.name
        for entry in catalog().entries("conditioning")
        if (part := catalog().create("conditioning", entry.full_name)).provides() >= {"identity_at_start"}
        and part.requires().keys() <= {"tokens"}
    ]
    assert "adaln_zero" in claiming
    tokens, condition = torch.randn(2, 16, 32), (torch.rand(2), torch.tensor([1, 2]))
    for name in claiming:
        for fields in ({}, {"norm_placement": "sandwich", "residual": "learned"}, {"parallel": True, "mlp": "swiglu"}):
            made = network(conditioning=name, **fields)
            context = made.condition(*condition)
            assert all(torch.equal(block(tokens, context), tokens) for block in made.blocks)
            assert made(*inputs()).abs().max() == 0
        made = network(conditioning=name, zero_init=False)
        assert not torch.allclose(made.blocks[0](tokens, made.condition(*condition)), tokens)
        assert made(*inputs()).abs().max() > 0


def test_placement_scale_and_modulation_by_the_formula():
    x, how = torch.randn(2, 5, 8), Modulation(*torch.randn(4, 2, 8))
    shift, scale, gate, bias = (part[:, None] for part in how)
    f, norm, after = nn.Linear(8, 8), nn.LayerNorm(8), nn.RMSNorm(8)
    pre = x + gate * 0.5 * f(norm(x + bias) * (1 + scale) + shift)
    assert torch.allclose(ResidualBranch(f, before=norm, beta=0.5)(x, how), pre, atol=1e-6)
    post = norm(x + gate * f(x + bias)) * (1 + scale) + shift
    assert torch.allclose(ResidualBranch(f, behind=norm)(x, how), post, atol=1e-6)
    sandwich = x + 0.3 * after(f(norm(x)))
    assert torch.allclose(ResidualBranch(f, before=norm, after=after, beta=LayerScale(8, 0.3))(x), sandwich, atol=1e-6)


def test_parallel_branches_read_the_same_tokens():
    made = stirred(network(parallel=True, conditioning="cross_attention"))
    block, x, context = made.blocks[0], torch.randn(2, 16, 32), made.condition(torch.rand(2), torch.tensor([1, 2]))
    alone = [block.attention(x) - x, block.cross(x, context), block.mlp(x) - x]
    assert torch.allclose(block(x, context), x + sum(alone), atol=1e-5)


def test_drops_are_for_training_alone_and_keep_the_mean():
    x, ones = torch.zeros(4000, 1, 2), nn.Linear(2, 2)
    nn.init.zeros_(ones.weight)
    nn.init.ones_(ones.bias)
    path = ResidualBranch(ones, drop_path=0.25)
    torch.manual_seed(0)
    dropped = path(x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert torch.equal(dropped[..., 0], dropped[..., 1])  # a whole image at a time
    assert abs(float(dropped.detach().mean()) - 1) < 0.05
    single = ResidualBranch(ones, dropout=0.25)(x)
    assert not torch.equal(single[..., 0], single[..., 1])
    assert torch.equal(path.eval()(x), torch.ones_like(x))
    rates = [block.attention.drop_path for block in network(depth=5, drop_path=0.2).blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])


def test_products_by_the_formula_and_without_what_is_masked():
    q, k, v = torch.randn(3, 2, 2, 7, 4)
    mask = torch.tensor([[True] * 5 + [False] * 2, [False] * 7])
    logits = q @ k.transpose(-1, -2) / 2
    assert torch.allclose(DotProduct()(q, k, v), logits.softmax(-1) @ v, atol=1e-6)
    assert torch.allclose(LinearProduct()(q, k, v), q.softmax(-1) @ k.softmax(-2).transpose(-1, -2) @ v, atol=1e-6)
    masked = DotProduct()(q, k, v, mask)
    assert torch.allclose(masked[:1], DotProduct()(q[:1], k[:1, :, :5], v[:1, :, :5]), atol=1e-6)
    assert torch.equal(masked[1], torch.zeros_like(masked[1]))  # nothing to look at


def test_query_key_norms_bound_the_logits():
    q, k = 100 * torch.randn(2, 2, 4, 7, 16)
    unit = [F.normalize(x, dim=-1) for x in (q, k)]
    cosine = CosineQueryKey(heads=4)
    seen = torch.matmul(*(x if i == 0 else x.transpose(-1, -2) for i, x in enumerate(cosine(q, k)))) / 4
    assert torch.allclose(seen, 10 * unit[0] @ unit[1].transpose(-1, -2), atol=1e-4)
    nn.init.constant_(cosine.log_scale, 50.0)
    assert cosine(q, k)[0].norm(dim=-1).max() <= 100 * 4 + 1e-2
    rms = RMSQueryKey(16)(q, k)
    assert torch.allclose(rms[0], unit[0] * 4, atol=1e-4)


def test_a_hook_sees_queries_and_keys_as_they_are_multiplied():
    attention = SelfAttention(32, 4, norm=RMSQueryKey(8))
    seen = []
    attention.product.query_key.register_forward_hook(lambda module, given, out: seen.append(out))
    attention(torch.randn(2, 5, 32))
    q, k = seen[0]
    assert q.shape == k.shape == (2, 4, 5, 8)
    assert torch.allclose(q.square().mean(-1), torch.ones(2, 4, 5), atol=1e-3)


def test_rope_knows_only_differences_of_places():
    joined, condition = 2, Context(torch.randn(1, 8), torch.randn(1, 2, 8), torch.rand(1))
    patches = PatchTokens((1, 6, 5), 1, 8, 1, rotation=Rope2d(6, 5, 8), sequence=ContextTokens(8, 8))
    _, layout = patches(torch.randn(1, 1, 6, 5), condition)
    q, k = torch.randn(2, 8)

    def logit(a, b):
        place = torch.zeros(2, joined + 30, 8)
        place[0, a], place[1, b] = q, k
        turned = rotate(place[:, None], layout.rotation)[:, 0]
        return float(turned[0, a] @ turned[1, b])

    def at(row, column):
        return joined + 5 * row + column

    for down, right in ((1, 0), (0, 2), (2, 1)):
        assert logit(at(0, 0), at(down, right)) == pytest.approx(logit(at(3, 2), at(3 + down, 2 + right)), abs=1e-4)
    assert logit(at(0, 0), at(1, 0)) != pytest.approx(logit(at(0, 0), at(0, 1)), abs=1e-3)
    assert logit(0, 1) == pytest.approx(float(q @ k), abs=1e-5)  # what has joined is not turned


@pytest.mark.parametrize(("width", "hidden"), [(32, 128), (192, 768), (100, 37)])
def test_swiglu_has_as_many_parameters(width, hidden):
    def count(module):
        return sum(p.numel() for p in module.parameters())

    made = SwiGLU(width, hidden)
    assert abs(count(made) - count(MLP(width, hidden))) <= (3 * width + 2) / 2
    x = torch.randn(2, width)
    gate, value = made.up(x).chunk(2, dim=-1)
    assert torch.allclose(made(x), made.down(gate * gate.sigmoid() * value), atol=1e-6)


@pytest.mark.parametrize("rows", [1, mlps.ROWS, 2 * mlps.ROWS + 3])
def test_the_fast_mlp_is_the_mlp(rows):
    """Against the same in fp64, layer by layer, over the whole range in which GELU bends; as close as torch's own."""
    made, exact = MLP(24, 40), MLP(24, 40).double()
    exact.load_state_dict(made.state_dict())
    x = (4 * torch.randn(rows, 24)).requires_grad_()
    assert mlps.fast_path_applies(x, made.up.weight) and not mlps.fast_path_applies(x.double(), exact.up.weight)
    y, wanted, grad = made(x), exact(x.double()), torch.randn(rows, 24)
    ours = torch.autograd.grad(y, [x, *made.parameters()], grad)
    theirs = torch.autograd.grad(wanted, [x, *exact.parameters()], grad.double())
    for one, other in zip((y, *ours), (wanted, *theirs), strict=True):
        assert (one - other).norm() <= 1e-6 * other.norm()
    with torch.no_grad():
        assert torch.equal(made(x[None])[0], y)
        far = torch.tensor([-1e30, -50.0, 50.0, 1e4])
        mlps.gelu(far, out := torch.empty(4), torch.empty(4), slope=True)
    assert out.tolist() == [0.0, 0.0, 50.0, 1e4]


def test_all_of_a_condition_may_be_padding():
    look = network(conditioning="cross_attention").blocks[0].cross
    context = Context(torch.randn(1, 32), torch.randn(1, 2, 32), torch.rand(1), torch.zeros(1, 2, dtype=torch.bool))
    assert torch.equal(look(torch.randn(1, 3, 32), context), look.attention.out.bias.expand(1, 3, 32))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"positions": "rope", "heads": 16}, r"multiple of 4, not 2 \(32/16\); the nearest heads that fit: 8"),
        ({"positions": "rope", "width": 60, "heads": 4}, r"multiple of 4, not 15 \(60/4\); the nearest heads.*: 3"),
        ({"parallel": True, "norm_placement": "post"}, "say norm_placement: sandwich or pre, or parallel: false"),
        ({"qk_norm": "cosin"}, "did you mean 'cosine'"),
        ({"drop_path": 1.0}, "less than 1"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_read(fields, told):
    with pytest.raises(SpecError, match=told):
        network(**fields)


def drawn(kind: str, name: str, rng: random.Random) -> dict:
    """A component with every field drawn: from its switches, its search range, or the components of its slot."""
    spec: dict = {"type": name}
    for field, info in catalog().get(kind, name).model_fields.items():
        held = slot_kind(info)
        choices = next((meta.values for meta in info.metadata if isinstance(meta, Choice)), None)
        span = next((meta for meta in info.metadata if isinstance(meta, Range)), None)
        if held is not None:
            ours = [entry.name for entry in catalog().entries(held.kind) if entry.distribution == "ablate"]
            spec[field] = drawn(held.kind, rng.choice(ours), rng)
        elif info.annotation is bool:
            spec[field] = rng.random() < 0.5
        elif get_origin(info.annotation) is not None and all(isinstance(v, str) for v in get_args(info.annotation)):
            spec[field] = rng.choice(get_args(info.annotation))
        elif choices is not None:
            spec[field] = rng.choice(choices)
        elif span is not None:
            low, high = (math.log(span.low), math.log(span.high)) if span.log else (span.low, span.high)
            value = rng.uniform(low, high)
            spec[field] = math.exp(value) if span.log else value
            spec[field] = int(spec[field]) if info.annotation is int else spec[field]
    return spec


@pytest.mark.parametrize("name", ["dit", "uvit"])
def test_any_candidate_trains_or_is_refused_before_it_is_built(name):
    """Half of ABLATE_CANDIDATES (60) draws from the whole space of each, at small sizes."""
    rng, trained = random.Random(5), 0
    for number in range(DRAWS // 2):
        small = {
            "width": rng.choice([16, 24, 32]),
            "heads": rng.choice([1, 2, 2, 3, 4]),
            "depth": rng.randint(2, 3),
        }
        spec = {**drawn("backbone", name, rng), **small, "patch": rng.choice([1, 2, 2, 2, 3])}
        ends = {"before": 0, "after": 1}  # blocks that all tokens pass through, of two or three
        taken = catalog().get("routing", spec["routing"]["type"]).model_fields
        spec["routing"] = {**spec["routing"], **{end: n for end, n in ends.items() if end in taken}}
        if rng.random() < (0.7 if name == "dit" else 0.9):  # a U-ViT takes none
            spec["routing"] = "none"
        spec |= {"embedders": [], "base_width": None}  # there are no conditions, nor rates by width
        spec["spare_outputs"] = spec["spare_outputs"] and not spec["learned_sigma"]
        spec["t_fixup"] = spec["t_fixup"] and rng.random() < 0.3  # half of the mixers have no projections to scale
        loss = "hybrid_vlb" if spec["learned_sigma"] or rng.random() < 0.1 else "mse"
        setting = InputSpec(rng.choice([(1, 8, 8), (3, 8, 4), (4, 6, 6)]), rng.choice([None, 3]))
        try:
            candidate = compose({"backbone": spec, "loss": loss}, catalog())
            told = [problem.message for problem in misfits(candidate, None, setting)]
        except SpecError as error:
            told = [problem.message for problem in error.problems]
        if told:
            assert all(map(str.strip, told))
            continue
        assert cost_of(candidate.backbone, setting).macs > 0, spec
        torch.manual_seed(number)
        made = candidate.backbone.build(setting).train()
        labels = None if setting.classes is None else torch.tensor([0, 3])
        optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
        for _ in range(2):  # what starts at zero hides what is behind it
            optimizer.zero_grad()
            out = made(torch.randn(2, *setting.shape), torch.rand(2) * 999, labels)
            (out - 1).square().mean().backward()
            assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters()), spec
            optimizer.step()
        assert all(p.isfinite().all() for p in made.parameters()), spec
        trained += 1
    assert trained >= DRAWS // 8
