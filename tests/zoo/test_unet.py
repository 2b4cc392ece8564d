"""backbone `unet`, its conditionings, and its parts."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import ablate
from ablate.candidates.candidate import compose, misfits
from ablate.discovery.catalog import catalog
from ablate.errors import InputError, SpecError
from ablate.spec.component import InputSpec
from ablate_zoo.backbone._unet_modules import ResidualBlock, ResidualSum, SelfAttentionBlock
from ablate_zoo.layers.attention import LinearProduct, SelfAttention
from ablate_zoo.layers.norms import stochastic_depth

SETTING = InputSpec((3, 8, 8), 10)
TINY = {"width": 8, "multipliers": [1, 2], "blocks": 1, "groups": 4, "heads": 2, "attention_resolutions": [4]}
BARE = {"type": "concat", "project": False}


def unet(**fields):
    return ablate.create("backbone", {"type": "unet", **TINY, **fields})


def network(seed=0, setting=SETTING, **fields):
    torch.manual_seed(seed)
    return unet(**fields).build(setting)


def stirred(module):
    """The same module with every parameter moved, so that nothing is zero by initialisation."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return module


def inputs(batch=2, shape=(3, 8, 8)):
    torch.manual_seed(1)
    return torch.randn(batch, *shape), torch.rand(batch) * 999, torch.arange(batch) % 11


OPTIONS = [
    *({"conditioning": name} for name in ("additive", "adagn", "adagn_zero", "cross_attention")),
    *({"norm": name} for name in ("instance", "layer", "rms")),
    *({"down": way} for way in ("pool", "residual", "residual_conv")),
    *({"up": way} for way in ("nearest", "residual", "residual_conv")),
    *({"rescale": way} for way in ("sqrt_half", "learned")),
    {"convolution": "separable", "down": "residual"},
    {"attention": "linear", "middle_attention": False},
    {"attention_resolutions": [], "decoder_attention": "last_block"},
    {"decoder_attention": "last_block", "head_width": 8},
    {"zero_init": False, "dropout": 0.2, "drop_path": 0.3},
    {"learned_sigma": True, "low_resolution": True, "stem_width": 4},
    {"fusion": BARE, "blocks": 2, "multipliers": [0.5, 1.5]},
]


@pytest.mark.parametrize("fields", OPTIONS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_every_option_gives_the_shape_and_reaches_every_parameter(fields):
    made = stirred(network(**fields)).train()
    x, noise, labels = inputs()
    before = x.clone()
    out = made(x, noise, labels)
    assert out.shape == (2, 6 if fields.get("learned_sigma") else 3, 8, 8)
    assert torch.equal(x, before)  # nothing is done in place on what was given
    out.square().mean().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    reached = [name for name, p in made.named_parameters() if p.grad.count_nonzero()]
    if not fields.get("drop_path"):
        assert len(reached) == len(list(made.parameters()))


@pytest.mark.parametrize("shape", [(1, 12, 20), (4, 6, 10), (3, 28, 4)])
def test_any_size_that_the_levels_halve(shape):
    setting = InputSpec(shape, None)
    made = stirred(network(setting=setting, attention_resolutions=[min(shape[1:]) // 2]))
    assert made(*inputs(1, shape)[:2], None).shape == (1, *shape)


def _peer(ada: bool, width: int = 32):
    """diffusers' U-Net, as DDPM on CIFAR-10, or (ada) with what ADM changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own imports warn
        from diffusers import UNet2DModel
    way = "resnet" if ada else "conv"
    attends = ["Attn"] * 4 if ada else ["", "Attn", "", ""]
    return UNet2DModel(
        sample_size=32,
        block_out_channels=(width, 2 * width, 2 * width, 2 * width),
        down_block_types=[f"{kind}DownBlock2D" for kind in attends],
        up_block_types=[f"{kind}UpBlock2D" for kind in reversed(attends)],
        layers_per_block=2,
        norm_num_groups=32,
        attn_norm_num_groups=32,
        norm_eps=1e-5,
        attention_head_dim=16 if ada else 2 * width,
        freq_shift=0,
        flip_sin_to_cos=True,
        downsample_type=way,
        upsample_type=way,
        resnet_time_scale_shift="scale_shift" if ada else "default",
        num_class_embeds=11,
    )


@pytest.mark.parametrize("ada", [False, True], ids=["ddpm", "adm"])
def test_equals_diffusers(ada):
    """The same weights in diffusers' UNet2DModel give the same output and the same gradient."""
    ways = {"down": "residual", "up": "residual", "head_width": 16, "conditioning": "adagn"}
    other = {"heads": 1, "conditioning": "additive"}
    fields = {"width": 32, "multipliers": [1, 2, 2, 2], "blocks": 2, "groups": 32, "fusion": BARE}
    sizes = [32, 16, 8, 4] if ada else [16]
    more = ways if ada else other
    ours = network(setting=InputSpec((3, 32, 32), 10), **fields, attention_resolutions=sizes, **more)
    ours, theirs = stirred(ours), _peer(ada)
    _copy(ours, theirs)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x, noise, labels = inputs(2, (3, 32, 32))
    x.requires_grad_()
    y, expected = ours(x, noise, labels), theirs(x, noise, class_labels=labels).sample
    assert torch.allclose(y, expected, atol=1e-5, rtol=1e-5)
    ours_grad, theirs_grad = (torch.autograd.grad(out.square().sum(), x)[0] for out in (y, expected))
    assert torch.allclose(ours_grad, theirs_grad, atol=1e-4, rtol=1e-4)


def _copy(ours: nn.Module, theirs: nn.Module) -> None:
    def put(target, source):
        target.load_state_dict({k: v.reshape(target.state_dict()[k].shape) for k, v in source.state_dict().items()})

    def block(target, source):
        for name in ("norm1", "conv1", "norm2", "conv2"):
            put(getattr(target, name), getattr(source, name))
        put(target.time_emb_proj, source.modulation.linear)
        if target.conv_shortcut is not None:
            put(target.conv_shortcut, source.skip)

    def attend(target, source):
        put(target.group_norm, source.norm)
        layers = (target.to_q, target.to_k, target.to_v)
        parts = zip(layers, source.attention.qkv.weight.chunk(3), source.attention.qkv.bias.chunk(3), strict=True)
        for layer, weight, bias in parts:
            layer.load_state_dict({"weight": weight, "bias": bias})
        put(target.to_out[0], source.attention.out)

    def level(cells, other, resampling):
        attentions = getattr(other, "attentions", [None] * len(other.resnets))
        for resnet, attention in zip(other.resnets, attentions, strict=True):
            cell = next(cells)
            block(resnet, cell.body)
            if attention is not None:
                attend(attention, cell.attention)
        for one in resampling or ():
            body = next(cells).body
            block(one, body) if isinstance(body, ResidualBlock) else put(one.conv, body.convolution)

    put(theirs.time_embedding.linear_1, ours.condition.level.first)
    put(theirs.time_embedding.linear_2, ours.condition.level.second)
    put(theirs.class_embedding, ours.condition.label)
    put(theirs.conv_in, ours.stem)
    put(theirs.conv_norm_out, ours.norm)
    put(theirs.conv_out, ours.head)
    cells = iter(ours.encoder)
    for other in theirs.down_blocks:
        level(cells, other, other.downsamplers)
    first, last = ours.middle
    block(theirs.mid_block.resnets[0], first.body)
    attend(theirs.mid_block.attentions[0], first.attention)
    block(theirs.mid_block.resnets[1], last.body)
    cells = iter(ours.decoder)
    for other in theirs.up_blocks:
        level(cells, other, other.upsamplers)


def test_branches_add_nothing_at_the_start():
    """With zero_init every block is the identity where it can be; so it is with gates that start at zero."""
    x = torch.randn(2, 8, 4, 4)
    for fields in ({"conditioning": "adagn"}, {"conditioning": "adagn_zero", "zero_init": False}):
        made = network(**fields, attention_resolutions=[8, 4])
        context = made.condition(torch.rand(2), torch.tensor([1, 2]))
        body = made.encoder[0].body
        assert body.skip.__class__ is nn.Identity and torch.equal(body(x.clone(), context), x)
        if fields.get("zero_init", True):
            assert torch.equal(made.encoder[0].attention(x), x)
            assert made(*inputs()).abs().max() == 0
        else:
            assert not torch.equal(made.encoder[0].attention(x), x)


def test_rescaling():
    x, h = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    expected = (x + h) * 0.5**0.5
    assert torch.equal(ResidualSum("none", 0.0)(x, h.clone()), x + h)
    assert torch.allclose(ResidualSum("sqrt_half", 0.0)(x, h.clone()), expected)
    learned = ResidualSum("learned", 0.0)
    assert torch.allclose(learned(x, h.clone()), expected)  # it starts as √½
    with torch.no_grad():
        learned.weight.fill_(-2.0)
    x, h = torch.randn(2, 400, 20, 20), torch.randn(2, 400, 20, 20)
    assert abs(float(learned(x, h).detach().var()) - 1) < 0.02  # whatever a is, the variance stays


def test_drop_path_drops_whole_images_in_training_alone():
    torch.manual_seed(0)
    kept = stochastic_depth(torch.ones(4000, 2, 1, 1), 0.25)[:, :, 0, 0]
    assert torch.equal(kept[:, 0], kept[:, 1]) and kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert abs(float(kept.mean()) - 1) < 0.05
    made, given = stirred(network(drop_path=0.5)).eval(), inputs()
    assert torch.equal(made(*given), stirred(network()).eval()(*given))
    made.train()
    assert not torch.equal(made(*given), made(*given))


def test_linear_attention_is_what_it_says_and_costs_what_it_says():
    torch.manual_seed(0)
    made, x = SelfAttention(8, 2, product=LinearProduct()), torch.randn(3, 5, 8)
    q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in made.qkv(x).chunk(3, dim=-1))
    weights = q.softmax(-1) @ k.softmax(-2).transpose(-2, -1)  # (B, heads, N, N), which it never makes
    assert torch.allclose(made(x), made.out((weights @ v).transpose(1, 2).flatten(2)), atol=1e-6)

    def macs(side, kind, attention):
        spec = {"type": "unet", **TINY, "attention_resolutions": attention, "attention": kind, "conditioning": "adagn"}
        return ablate.cost({"backbone": {**spec, "middle_attention": False}}, (3, side, side), 10).macs

    for kind, power in (("linear", 4), ("full", 16)):
        small, large = (macs(side, kind, [side // 2]) - macs(side, kind, []) for side in (32, 64))
        assert large == pytest.approx(power * small, rel=0.15 if kind == "full" else 1e-9)


def test_attention_on_maps_looks_from_every_place():
    made = stirred(network(conditioning="cross_attention"))
    x, context = torch.randn(2, 8, 4, 6), made.condition(torch.rand(2), torch.tensor([1, 2]))
    cross = made.encoder[0].body.cross
    whole = made.encoder[0].body(x, context)
    without = ResidualBlock.__new__(ResidualBlock)
    without.__dict__ = {**made.encoder[0].body.__dict__, "_modules": {**made.encoder[0].body._modules, "cross": None}}
    before = without(x, context)
    place = before[:, :, 2, 3][:, None]  # (B, 1, C)
    assert torch.allclose(whole[:, :, 2, 3], (place + cross(place, context))[:, 0], atol=1e-5)
    attend = SelfAttentionBlock(nn.Identity(), SelfAttention(8, 2, product=LinearProduct()), ResidualSum("none", 0.0))
    tokens = x.flatten(2).transpose(1, 2)
    for order in (torch.contiguous_format, torch.channels_last):  # it is found and left in either
        y = attend(x.contiguous(memory_format=order))
        assert y.is_contiguous(memory_format=order)
        assert torch.allclose(y.flatten(2).transpose(1, 2), tokens + attend.attention(tokens), atol=1e-6)


def test_features_are_channels_last_all_the_way():
    made, seen = network(fusion=BARE, attention_resolutions=[8, 4], conditioning="adagn_zero"), []
    for name, module in made.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, given, out, name=name: seen.append((name, given[0], out)))
    made(*inputs())
    last = torch.channels_last
    assert len(seen) > 10
    assert all(x.is_contiguous(memory_format=last) and y.is_contiguous(memory_format=last) for _, x, y in seen)


def test_labels_may_be_left_out():
    made = stirred(network(class_condition=False))
    x, noise, labels = inputs()
    assert made.condition.label is None
    assert torch.equal(made(x, noise, labels), made(x, noise, None))
    assert "null_class" in unet().provides() and "null_class" not in unet(class_condition=False).provides()


def test_an_upsampler_has_channels_for_the_small_image_and_is_not_trained():
    assert network(low_resolution=True).stem.in_channels == 2 * network().stem.in_channels
    candidate = compose({"backbone": {"type": "unet", **TINY, "low_resolution": True}}, catalog())
    (problem,) = misfits(candidate, None, SETTING)
    assert "data.conditions: [low_resolution]" in problem.message
    with pytest.raises(SpecError, match="an upsampler sees a small image too"):  # as by a study
        ablate.cost({"backbone": candidate.backbone}, SETTING.shape, 10)
    assert ablate.cost({"backbone": candidate.backbone, "shape": SETTING.shape}, classes=10).params > 0, (
        "a known network"
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"groups": 3}, r"3 groups do not divide 8 channels; the nearest that divide all: 2"),
        ({"groups": 8, "multipliers": [1, 1.5]}, r"8 groups do not divide 12 channels; the nearest that divide all: 4"),
        ({"multipliers": [1, 1.3]}, r"multiplier 1.3 of width 8 is 10.4 channels; the nearest: 1.25"),
        ({"multipliers": []}, r"at least 1"),
        ({"width": 9}, r"do not divide 9 channels"),
        ({"heads": 3}, r"heads 3 does not divide 16 channels; the nearest that divides all: 2"),
        ({"head_width": 5}, r"head_width 5 does not divide 16 channels; the nearest that divides all: 4"),
        ({"dropout": 1.0}, r"less than 1"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_read(fields, told):
    with pytest.raises(SpecError, match=told):
        unet(**fields)


@pytest.mark.parametrize(
    ("fields", "shape", "told"),
    [
        ({"multipliers": [1, 1, 1]}, (3, 6, 8), r"3 levels halve 6×8 2 times, which does not divide; it does for 2"),
        ({"attention_resolutions": [5]}, (3, 8, 12), r"size 5, which does not occur: .* 8, 4; the nearest: 4"),
        ({"attention_resolutions": [8], "heads": 16}, (3, 8, 8), r"heads 16 does not divide 8 .*: 8"),
        ({"norm": "instance", "attention_resolutions": []}, (3, 2, 2), r"has one number to average at size 1"),
    ],
)
def test_what_the_data_do_not_allow_is_refused(fields, shape, told):
    with pytest.raises(InputError, match=told):
        ablate.cost({"backbone": {"type": "unet", **TINY, **fields}}, shape, 10)


def test_a_conditioning_of_the_other_blocks_is_refused():
    def told(backbone, name):
        candidate = compose({"backbone": {"type": backbone, "conditioning": name}}, catalog())
        return " ".join(p.message for p in misfits(candidate, None, InputSpec((3, 32, 32), 10)))

    assert all("'tokens'" in told("unet", name) for name in ("in_context", "adaln_zero"))
    assert all("'feature_maps'" in told("dit", name) for name in ("adagn", "adagn_zero"))
    assert not any(told(backbone, name) for backbone in ("unet", "dit") for name in ("additive", "cross_attention"))
