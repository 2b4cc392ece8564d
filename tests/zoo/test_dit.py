"""backbone `dit` and its conditionings."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import ablate
from ablate.errors import SpecError
from ablate.spec.component import Choice, InputSpec
from ablate_zoo.backbone.dit import DiT

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
