"""backbone `dit` and its conditionings."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ablate
from ablate.api import Context
from ablate.errors import SpecError
from ablate.spec.component import Choice, InputSpec
from ablate_zoo.backbone.dit import DiT

MODELS = Path(__file__).parents[2] / "studies" / "models"
SETTING = InputSpec((3, 8, 8), 10)
NAMES = ["in_context", "cross_attention", "adaln", "adaln_zero"]


def network(seed=0, setting=SETTING, **fields):
    spec = {"type": "dit", "patch": 2, "depth": 2, "width": 32, "heads": 4, **fields}
    torch.manual_seed(seed)
    return ablate.create("backbone", spec).build(setting)


def stirred(module):
    """The same module with every parameter moved, so that nothing is zero by initialisation."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return module


def inputs(batch=4):
    torch.manual_seed(1)
    return torch.randn(batch, 3, 8, 8), torch.rand(batch) * 999, torch.arange(batch) % 11


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("learned", [False, True])
def test_shapes_and_gradients(name, learned):
    made = stirred(network(conditioning=name, learned_sigma=learned))
    out = made(*inputs())
    assert out.shape == (4, 6 if learned else 3, 8, 8)
    out.square().mean().backward()
    for parameter_name, parameter in made.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_starts_at_zero_output(name):
    assert network(conditioning=name)(*inputs()).abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_condition_counts_and_batch_order_does_not(name):
    made = stirred(network(conditioning=name)).eval()
    x, noise, labels = inputs()
    out = made(x, noise, labels)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(made(x[order], noise[order], labels[order]), out[order], atol=1e-5)
    assert not torch.allclose(made(x, noise, (labels + 1) % 10), out, atol=1e-4)
    assert not torch.allclose(made(x, noise + 100, labels), out, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_agrees_with_fp32(name):
    made = stirred(network(conditioning=name)).eval()
    exact = made(*inputs())
    with torch.autocast("cpu", torch.bfloat16):
        rough = made(*inputs()).float()
    assert (rough - exact).norm() < 0.03 * exact.norm()


def test_unlabelled_data_condition_on_time_alone():
    made = network(setting=InputSpec((3, 8, 8), None))
    assert made.condition.label is None
    assert made(inputs()[0], inputs()[1], None).shape == (4, 3, 8, 8)


def test_fixed_positions_are_no_parameters_and_not_saved():
    made = network()
    assert not any("positions" in name for name in (*made.state_dict(), *dict(made.named_parameters())))


def test_heads_that_do_not_divide_are_refused_with_the_nearest():
    with pytest.raises(SpecError, match=r"5 heads do not divide the width 32; the nearest that do: 4"):
        network(heads=5)


def test_default_widths_suit_the_default_heads():
    widths = next(m for m in DiT.model_fields["width"].metadata if isinstance(m, Choice)).values
    for width in widths:
        ablate.create("backbone", {"type": "dit", "width": width})  # raises where the heads do not divide it


def test_equals_diffusers():
    """The same weights in diffusers' DiT give the same output (adaLN-Zero, null class included)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own imports warn
        from diffusers import DiTTransformer2DModel
    ours = stirred(network(conditioning="adaln_zero", learned_sigma=True)).eval()
    theirs = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=3,
        out_channels=6,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=10,
        norm_eps=1e-6,
    ).eval()
    _copy(ours, theirs)
    x, noise, labels = inputs()
    with torch.no_grad():
        expected = theirs(x, timestep=noise, class_labels=labels).sample
        assert torch.allclose(ours(x, noise, labels), expected, atol=2e-5)


def _copy(ours: nn.Module, theirs: nn.Module) -> None:
    def put(target: nn.Module, source: nn.Module) -> None:
        target.load_state_dict({k: v.reshape(target.state_dict()[k].shape) for k, v in source.state_dict().items()})

    put(theirs.pos_embed.proj, ours.tokens.embed)
    for block, other in zip(ours.blocks, theirs.transformer_blocks, strict=True):
        other.norm1.emb.time_proj.downscale_freq_shift = 0  # as in the paper's own code
        put(other.norm1.emb.timestep_embedder.linear_1, ours.condition.level.first)
        put(other.norm1.emb.timestep_embedder.linear_2, ours.condition.level.second)
        put(other.norm1.emb.class_embedder.embedding_table, ours.condition.label)
        put(other.norm1.linear, block.modulation.linear)
        query, key, value = block.attention.branch.qkv.weight.chunk(3)
        biases = block.attention.branch.qkv.bias.chunk(3)
        for layer, weight, bias in zip(
            (other.attn1.to_q, other.attn1.to_k, other.attn1.to_v), (query, key, value), biases, strict=True
        ):
            layer.load_state_dict({"weight": weight, "bias": bias})
        put(other.attn1.to_out[0], block.attention.branch.out)
        put(other.ff.net[0].proj, block.mlp.branch.up)
        put(other.ff.net[2], block.mlp.branch.down)
    put(theirs.proj_out_1, ours.head.modulation.linear)
    # Their last layer orders each patch as (row, column, channel), as ours does.
    put(theirs.proj_out_2, ours.head.linear)


# Parameters (M) of SiT's table 1 and LightningDiT's table 2; the networks' Gflops are DiT's.
FLOWS = {"sit_s_2": (33, 6.06), "sit_b_2": (130, 23.01), "sit_l_2": (458, 80.71), "sit_xl_2": (675, 118.64)}


@pytest.mark.parametrize("name", [*FLOWS, "lightningdit_xl_1"])
def test_flow_matching_transformers_as_printed(name):
    cost = ablate.cost(MODELS / f"{name}.yaml")
    params, gflops = FLOWS.get(name, (675, None))
    assert round(cost.params / 1e6) == params and (gflops is None or abs(cost.gflops - gflops) < 0.006)


def test_outputs_that_nobody_reads_are_made_and_thrown_away():
    spare, learned = (stirred(network(**{field: True})) for field in ("spare_outputs", "learned_sigma"))
    learned.load_state_dict(spare.state_dict())
    x, noise, labels = inputs()
    assert torch.equal(spare(x, noise, labels), learned(x, noise, labels)[:, :3])
    with pytest.raises(SpecError, match="say spare_outputs: false"):
        network(spare_outputs=True, learned_sigma=True)


def test_lightning_dit_is_to_its_formulas():
    """Positions that are added and turned, RMS norms, SwiGLU: written out over the network's own numbers, in fp64."""
    parts = {"norm": "rms", "norm_affine": "always", "mlp": "swiglu", "positions": "sincos_rope"}
    made = stirred(network(**parts, depth=1, width=32, heads=2)).double()
    x, noise, labels = inputs(2)
    x, w = x.double(), dict(made.named_parameters())

    def linear(t, name):
        return F.linear(t, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(t, name):
        return t / (t.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.weight"]

    def waves(values, size):
        rates = torch.exp(-math.log(10_000) / (size // 2) * torch.arange(size // 2))  # in fp32, as the network has them
        return (values.float()[:, None] * rates).double()

    angles = waves(noise, 256)
    e = linear(torch.cat([angles.cos(), angles.sin()], -1), "condition.level.first")
    e = F.silu(linear(F.silu(e), "condition.level.second") + w["condition.label.weight"][labels])
    rows, columns = torch.arange(16) // 4, torch.arange(16) % 4

    def sincos(place):
        return torch.cat([waves(place, 16).sin(), waves(place, 16).cos()], -1)

    t = linear(made.tokens.patches(x), "tokens.embed") + torch.cat([sincos(columns), sincos(rows)], -1)
    turn = torch.cat([waves(rows, 8), waves(columns, 8)], -1)  # half of a head by the row, half by the column

    def rotated(q):
        a, b = q.chunk(2, dim=-1)
        return torch.cat([a * turn.cos() - b * turn.sin(), b * turn.cos() + a * turn.sin()], -1)

    def modulated(t, shift, scale):
        return t * (1 + scale[:, None]) + shift[:, None]

    chunks = linear(e, "blocks.0.modulation.linear").chunk(6, -1)  # shift, scale, gate of attention, then of the MLP
    h = modulated(norm(t, "blocks.0.attention.before"), chunks[0], chunks[1])
    q, k, v = (
        part.view(2, 16, 2, 16).transpose(1, 2) for part in linear(h, "blocks.0.attention.branch.qkv").chunk(3, -1)
    )
    attended = (rotated(q) @ rotated(k).transpose(-1, -2) / 4).softmax(-1) @ v
    t = t + chunks[2][:, None] * linear(attended.transpose(1, 2).flatten(2), "blocks.0.attention.branch.out")
    h = modulated(norm(t, "blocks.0.mlp.before"), chunks[3], chunks[4])
    gate, value = linear(h, "blocks.0.mlp.branch.up").chunk(2, -1)
    t = t + chunks[5][:, None] * linear(F.silu(gate) * value, "blocks.0.mlp.branch.down")
    shift, scale = linear(e, "head.modulation.linear").chunk(2, -1)
    image = made.tokens.image(linear(modulated(norm(t, "head.norm"), shift, scale), "head.linear"))
    assert (made(x, noise, labels) - image).abs().max() <= 1e-6 * image.abs().max()


def test_cross_attention_may_have_a_norm_before_it():
    plain, normed = (stirred(network(conditioning={"type": "cross_attention", "norm": n})) for n in (False, True))
    more = sum(p.numel() for p in normed.parameters()) - sum(p.numel() for p in plain.parameters())
    assert more == 2 * 2 * 32  # a scale and a shift in each of two blocks
    look, x = normed.blocks[0].cross, torch.randn(2, 16, 32)
    context = Context(torch.randn(2, 32), torch.randn(2, 2, 32), torch.zeros(2))
    norm = F.layer_norm(x, (32,), look.norm.weight, look.norm.bias, 1e-5)
    assert torch.equal(look(x, context), look.attention(norm, context.tokens))
