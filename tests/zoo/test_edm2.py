"""EDM2's configurations: as printed, to the formulas of the paper, and what they promise (Karras et al. 2024)."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import pytest
import torch
from learners import learner, train
from torch.nn import functional as F

import ablate
from ablate.candidates.candidate import compose, misfits
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.kinds.backbone import constrained, network_blocks
from ablate.spec.component import InputSpec
from ablate.study.yaml import read
from ablate_zoo.layers.magnitudes import SILU, UnitConv2d, mp_silu, mp_sum, mp_weights, pixel_norm

MODELS = Path(__file__).parents[2] / "studies" / "models"
TABLE = ablate.published()
SETTING = InputSpec((3, 8, 8), 5)
TINY = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention_resolutions": [4], "head_width": 8}


def model(name):
    return read(MODELS / f"edm2_{name}.yaml").data


def backbone(name, **fields):
    """The backbone of a model file, small."""
    spec = {**model(name)["backbone"], **TINY, **fields}
    return {**spec, "groups": 4} if spec.get("norm") != "none" else spec


def network(name="s", setting=SETTING, **fields):
    torch.manual_seed(0)
    return ablate.create("backbone", backbone(name, **fields)).build(setting)


# Whether a row is Table 1's configuration or a size of Table 2; the dearer ones say nothing that the others do not.
EVERY = [f"config_{c}" for c in "abcdef"] + ["xs", "s", "m", "l", "xl", "xxl"]
LEFT = {"config_e", "m", "l", "xl"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.thorough] if n in LEFT else []) for n in EVERY])
def test_as_printed(name):
    cost = ablate.cost(model(name))
    printed = f"EDM2 {name.replace('_', ' ')}" if "config" in name else f"EDM2-{name.upper()}"
    row = TABLE[TABLE["model"].str.lower() == printed.lower()].iloc[0]
    assert row["gflops_rule"] == "gflops_edm2"
    digits = 1 if "config" in name else 0
    assert round(cost.params / 1e6, digits) == row["params_M"]
    rounded = 0.0 if digits else 0.5  # what is printed as 46 is anything from 45.5 to 46.5
    assert abs(cost.gflops_edm2 - row["gflops"]) <= rounded + (0.3 if digits else 0.02)
    if name == "s":  # configuration G, which has a row of its own
        assert round(cost.params / 1e6, 1) == 280.2 and abs(cost.gflops_edm2 - 102.2) <= 0.3


def test_the_literature_says_how_each_number_was_counted():
    counted = TABLE[TABLE["gflops_rule"].notna()]
    assert counted["gflops"].notna().all() and set(counted["gflops_rule"]) == {"gflops", "gflops_edm2"}
    others = TABLE[TABLE["gflops"].notna() & TABLE["gflops_rule"].isna()]
    assert set(others["model"]) == {"RIN", "U-ViT-L", "VDM++", "StyleGAN-XL"}  # by rules that nobody printed


# --- the formulas of the paper, written out once more over the network's own numbers ---


def unit(w):
    """ŵ = w/(‖w‖/√N + ε), over √N again: rows of norm 1."""
    flat = w.flatten(1)
    n = flat.shape[1]
    return (flat / (flat.norm(dim=1, keepdim=True) / math.sqrt(n) + 1e-4) / math.sqrt(n)).view_as(w)


def conv(state, name, x):
    w = unit(state[f"{name}.raw_weight"])
    return F.conv2d(x, w, padding=w.shape[-1] // 2)


def linear(state, name, x):
    return x @ unit(state[f"{name}.raw_weight"]).T


def act(x):
    return x / (1 + (-x).exp()) / 0.596


def normalised(x, dim):
    return x / (x.pow(2).mean(dim, keepdim=True).sqrt() + 1e-4)


def total(a, b, t):
    return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)


def cat(a, b):
    scale = math.sqrt((a.shape[1] + b.shape[1]) / 0.5) * 0.5
    return torch.cat([scale / math.sqrt(a.shape[1]) * a, scale / math.sqrt(b.shape[1]) * b], dim=1)


def attention(state, name, x, width):
    b, c, height, breadth = x.shape
    tokens = x.flatten(2).transpose(1, 2)
    q, k, v = linear(state, f"{name}.attention.qkv", tokens).chunk(3, dim=-1)
    heads = [part.view(b, -1, c // width, width).transpose(1, 2) for part in (q, k, v)]
    q, k, v = (normalised(part, -1) for part in heads)
    w = (q @ k.transpose(-1, -2) / math.sqrt(width)).softmax(-1)
    y = linear(state, f"{name}.attention.out", (w @ v).transpose(1, 2).reshape(b, -1, c))
    return total(x, y.transpose(1, 2).view(b, c, height, breadth), 0.3)


def block(state, name, x, e, encoder, resample=None):
    def resized(x):
        if resample == "down":
            return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2) if resample == "up" else x

    def project(x):
        return conv(state, f"{name}.skip", x) if f"{name}.skip.raw_weight" in state else x

    x = resized(x)
    x = normalised(project(x), 1) if encoder else x
    y = conv(state, f"{name}.conv1", act(x))
    c = linear(state, f"{name}.modulation.linear", act(e)) * state[f"{name}.modulation.gain.factor"] + 1
    y = conv(state, f"{name}.conv2", act(y * c[..., None, None]))
    return total(x if encoder else project(x), y, 0.3)


def cell(state, name, x, e, encoder=False, resample=None, width=8):
    x = block(state, f"{name}.body", x, e, encoder, resample)
    x = attention(state, f"{name}.attention", x, width) if f"{name}.attention.attention.qkv.raw_weight" in state else x
    return x.clip(-256, 256)


def config_g(state, x, noise, labels):
    """Figure 22: two levels of one block each."""
    waves = (
        math.sqrt(2)
        * (
            2
            * math.pi
            * (noise[:, None] * state["condition.level.waves.frequency"] + state["condition.level.waves.phase"])
        ).cos()
    )
    table = state["condition.label.raw_weight"]
    label = (table / (table.pow(2).mean(0, keepdim=True).sqrt() + 1e-4))[labels]
    e = total(linear(state, "condition.level.first", waves), label, 0.5)
    x = conv(state, "stem", torch.cat([x, torch.ones_like(x[:, :1])], dim=1))
    skips = [x]
    for i, resample in enumerate([None, "down", None]):
        x = cell(state, f"encoder.{i}", x, e, True, resample)
        skips.append(x)
    for i in range(2):
        x = cell(state, f"middle.{i}", x, e)
    for i, resample in enumerate([None, None, "up", None, None]):
        x = x if resample else cat(x, skips.pop())
        x = cell(state, f"decoder.{i}", x, e, False, resample)
    return conv(state, "head", x) * state["gain.factor"]


def test_configuration_g_is_to_the_formulas():
    made = network().double().eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("factor"):
                parameter.fill_(0.7)  # gains begin at zero
    torch.manual_seed(1)
    x, noise, labels = 30 * torch.randn(3, 3, 8, 8).double(), torch.randn(3).double(), torch.tensor([0, 4, 5])
    with torch.no_grad():
        state = {name: value.double() for name, value in made.state_dict().items()}
        noise = noise.float().double()  # the network embeds the noise level in fp32
        ours, theirs = made(x, noise, labels), config_g(state, x, noise, labels)
    assert ours.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


def test_the_functions_have_the_papers_constants():
    torch.manual_seed(0)
    x, h = torch.randn(2, 400_000)
    for kept in (mp_silu(x), mp_sum(x, h, 0.3), pixel_norm(x.view(100, 4000))):
        assert abs(kept.square().mean() - 1) < 0.01
    assert abs(F.silu(x).square().mean().sqrt() - SILU) < 0.002
    for channels in ((4, 4), (4, 12), (30, 2)):
        weights = mp_weights(*channels, 0.5)
        assert sum(w**2 * n for w, n in zip(weights, channels, strict=True)) == pytest.approx(sum(channels))
        assert weights[0] ** 2 * channels[0] == pytest.approx(weights[1] ** 2 * channels[1])


def test_weights_that_are_forced_keep_their_norm_and_learned_ones_do_not():
    parts = {"optimizer": {"type": "adam", "lr": 0.05}, "schedule": "edm", "precondition": "edm"}
    off = {}
    for how in ("learned", "forced"):
        who = learner(**parts, backbone=backbone("config_d", weight_norm=how))
        before = {name: p.detach().clone() for name, p in who.network.named_parameters()}
        train(who, 3)
        units = [module for module in constrained(who.network) if isinstance(module, UnitConv2d)]
        assert len(units) > 10 and not torch.equal(units[0].raw_weight, before["stem.raw_weight"])
        sizes = torch.cat([u.raw_weight.detach().square().mean(u.inputs).flatten() for u in units])
        off[how] = (sizes - 1).abs().max().item()
        rows = torch.cat([u.weight.detach().square().sum(u.inputs).flatten() for u in units])
        assert torch.allclose(rows, torch.ones_like(rows), atol=2e-3)  # whatever is trained, the layer's norm is 1
    assert off["forced"] < 1e-3 < 0.1 < off["learned"]


def spread(made, setting, images=32):
    """The standard deviation of what each block gives."""
    torch.manual_seed(2)
    found = []
    hooks = [
        b.register_forward_hook(lambda m, i, o: found.append(o.std().item())) for b in network_blocks(made).values()
    ]
    with torch.no_grad():
        made(torch.randn(images, *setting.shape), torch.randn(images) / 4, torch.randint(0, 5, (images,)))
    for hook in hooks:
        hook.remove()
    return found


def test_magnitudes_stay_over_depth_in_g_and_grow_in_d():
    wide = {"width": 32, "multipliers": [1, 2], "blocks": 2, "attention_resolutions": [], "middle_attention": False}
    kept = spread(network("s", **wide), SETTING)
    assert min(kept) > 0.9 and max(kept) < 1.1
    assert max(spread(network("config_d", **wide), SETTING)) > 1.3


ALONE = [
    {"biases": False},
    {"constant_channel": True},
    {"norm_affine": False},
    {"norm": "none"},
    {"norm": "none", "pixel_norm": True},
    {"skip_first": True},
    {"activation": "mp_silu"},
    {"head_activation": False},
    {"output_gain": True},
    {"weight_norm": "learned", "zero_init": False},
    {"weight_norm": "forced", "zero_init": False},
    {"qk_norm": "unit"},
    {"qk_norm": "cosine"},
    {"attention": {"type": "softmax", "value_norm": True}},
    {"clip_activations": 0.5},
    {"noise_embedding": "fourier"},
    {"noise_embedding": "fourier_pairs", "noise_features": 12},
    {"noise_embedding": "endpoint"},
    {"embedding_layers": 1},
    {"class_embedding": "before_mlp"},
    {"mp_embedding": True},
    {"rescale": "mp_sum"},
    {"resample_filter": "fir"},
    {"side_path": True},
    {"down": "strided_conv", "up": "nearest_conv", "padding": "end"},
    {"fusion": {"type": "concat", "project": False, "mp": True}},
    {"conditioning": "scale"},
    {"conditioning": {"type": "scale", "gain": True, "activation": "mp_silu"}},
]


def stirred(**fields):
    """A network as the baseline with some fields, none of whose weights are zero; what goes in and what comes out."""
    made = network("config_a", **fields).train()
    with torch.no_grad():
        torch.manual_seed(3)
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    torch.manual_seed(1)
    x, noise, labels = torch.randn(2, 3, 8, 8), torch.rand(2), torch.tensor([1, 5])
    return made, x, made.eval()(x, noise, labels)


@functools.cache
def of_the_baseline():
    return stirred()[2].detach()


@pytest.mark.parametrize("fields", ALONE, ids=lambda fields: "-".join(map(str, fields.values())))
def test_every_step_can_be_taken_alone(fields):
    """From the baseline (A), each option gives another function, which trains every parameter."""
    made, x, out = stirred(**fields)
    assert out.shape == x.shape and not torch.allclose(out, of_the_baseline())
    out.square().mean().backward()
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


REFUSED = {
    "group norm in F and G": ({"pixel_norm": True}, "norm is 'group'; say norm: none, or pixel_norm: false"),
    "weights that begin at zero": ({"weight_norm": "learned"}, "say zero_init: false, and output_gain: true"),
    "gates that begin at zero": (
        {"weight_norm": "forced", "zero_init": False, "conditioning": "adagn_zero"},
        "conditioning 'adagn_zero' begins its gates at zero; take conditioning: {type: scale, gain: true}",
    ),
    "a sum that is not there": (
        {"class_embedding": "before_mlp", "mp_embedding": True},
        "behind the MLP; say class_emb",
    ),
    "two levels": ({"class_embedding": "before_mlp", "second_label": True}, "beside which second_label has no place"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused(case):
    fields, message = REFUSED[case]
    with pytest.raises(SpecError) as refused:
        ablate.create("backbone", backbone("config_a", **fields))
    assert message in str(refused.value)


@pytest.mark.parametrize("how", ["adam", "sgd", "muon"])
def test_forced_weights_do_not_decay(how):
    spec = {**model("s"), "backbone": backbone("s"), "optimizer": {"type": how, "weight_decay": 0.01}}
    del spec["shape"], spec["classes"]
    problems = misfits(compose(spec, catalog()), None, SETTING, provided={"labels"})
    assert any("does not go with 'weight_decay'" in p.message and "weight_decay: 0" in p.message for p in problems)
    spec["optimizer"]["weight_decay"] = 0.0
    assert not misfits(compose(spec, catalog()), None, SETTING, provided={"labels"})


def test_edm2_counts_elementwise_work_too():
    """One convolution, a SiLU, a group norm, a sum: by hand."""

    class Four(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.GroupNorm(2, 4)

        def forward(self, x, noise, labels):
            h = self.conv(x)  # 4·64 outputs of 18 products, and a bias each
            return h + F.silu(self.norm(h)).softmax(dim=1)

    from ablate.candidates.flops import measure

    with torch.device("meta"):
        cost = measure(Four(), InputSpec((2, 8, 8), None))
    outputs = 4 * 64
    assert cost.macs == 18 * outputs
    assert cost.gflops_edm2 * 1e9 == pytest.approx((18 + 1 + 4 + 3 + 3 + 1) * outputs)
