"""What MobileDiffusion saves in a U-Net: separable convolutions at some sizes, keys that are values, ReLU attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ablate
from ablate.api import InputSpec, Layout, MixerSite
from ablate.errors import SpecError
from ablate.study.yaml import read
from ablate_zoo.layers.attention import ReLUProduct, SelfAttention

MODELS = Path(__file__).parents[2] / "studies" / "models"
SETTING = InputSpec((3, 16, 16), 10)
UNET: dict[str, Any] = {
    "type": "unet",
    "width": 16,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention_resolutions": [8],
    "heads": 2,
}
MIXERS = ["softmax", "linear", "windowed", "neighborhood", "relu"]


def cost(**fields: Any) -> Any:
    return ablate.cost({"backbone": {**UNET, **fields}}, SETTING.shape, 10)


def network(**fields: Any) -> nn.Module:
    torch.manual_seed(0)
    built: nn.Module = ablate.create("backbone", {**UNET, **fields}).build(SETTING)
    return built


def test_convolutions_are_separable_at_the_sizes_that_are_named() -> None:
    """Which those are, and what that saves, by hand; and the same by torch's own counter."""
    full, less = network(), network(separable_resolutions=[8])
    changed = [
        name
        for name, module in full.named_modules()
        if isinstance(module, nn.Conv2d) and not isinstance(dict(less.named_modules())[name], nn.Conv2d)
    ]
    # all 3×3 convolutions of size 8: the step down to it, its block, the middle's two, its two blocks of the decoder
    parts = ["encoder.1.body", "encoder.2.body", "middle.0.body", "middle.1.body", "decoder.0.body", "decoder.1.body"]
    assert sorted({name.rsplit(".", 1)[0] for name in changed}) == sorted(parts)
    pairs = [(16, 16), (16, 32), *[(32, 32)] * 9]
    saved = sum(9 * a * b - (9 * a + a * b) for a, b in pairs)
    assert cost().params - cost(separable_resolutions=[8]).params == saved
    assert cost().macs - cost(separable_resolutions=[8]).macs == 64 * saved
    inputs = torch.randn(1, *SETTING.shape), torch.rand(1), torch.tensor([3])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        less.to("meta")(*(part.to("meta") for part in inputs))
    assert counter.get_total_flops() == 2 * cost(separable_resolutions=[8]).macs


def test_all_sizes_are_as_convolution_separable() -> None:
    """But for the step between sizes, which belongs to the size that it leads to."""
    assert cost(separable_resolutions=[16, 8]) == cost(convolution="separable")


@pytest.mark.parametrize("mixer", MIXERS)
def test_one_projection_for_keys_and_values_saves_a_third(mixer: str) -> None:
    dit = {"type": "dit", "patch": 4, "depth": 2, "width": 32, "heads": 2}
    plain, shared = (
        ablate.cost({"backbone": {**dit, "attention": {"type": mixer, "shared_key_value": on}}}, SETTING.shape, 10)
        for on in (False, True)
    )
    assert plain.params - shared.params == 2 * (32 * 32 + 32)
    assert plain.macs - shared.macs == 2 * 16 * 32 * 32


@pytest.mark.parametrize("mixer", MIXERS)
def test_keys_are_values_before_what_norms_and_turns_them(mixer: str) -> None:
    """As attention with a projection of values that equals that of keys."""
    torch.manual_seed(0)
    site = MixerSite(16, 16, heads=2, resolution=(3, 4))
    shared, plain = (
        ablate.create("mixer", {"type": mixer, "shared_key_value": on}).build(site).double() for on in (True, False)
    )
    assert isinstance(shared, SelfAttention) and isinstance(plain, SelfAttention)
    with torch.no_grad():
        for one, other in ((shared.qkv.weight, plain.qkv.weight), (shared.qkv.bias, plain.qkv.bias)):
            q, kv = one.chunk(2)
            other.copy_(torch.cat([q, kv, kv]))
        plain.out.load_state_dict(shared.out.state_dict())
    angles = torch.rand(12, 4, dtype=torch.float64)
    x, layout = torch.randn(2, 12, 16, dtype=torch.float64), Layout(0, (3, 4), (angles.cos(), angles.sin()))
    torch.testing.assert_close(shared(x, layout), plain(x, layout))


def test_relu_attention_is_its_formula() -> None:
    q, k, v = torch.randn(3, 2, 2, 7, 8, dtype=torch.float64)
    expected = torch.stack([F.relu(q[:, h] @ k[:, h].mT / 8**0.5) @ v[:, h] / 7 for h in range(2)], dim=1)
    torch.testing.assert_close(ReLUProduct()(q, k, v), expected)


def test_a_narrower_mlp_in_transformer_blocks() -> None:
    fields = {"transformer_resolutions": [8], "attention_resolutions": []}
    wide, narrow = cost(**fields), cost(**fields, mlp_ratio=1.5)
    blocks, d = 5, 32  # encoder 1, middle 2, decoder 2
    assert wide.params - narrow.params == blocks * (2 * d + 1) * (4 - 1.5) * d
    assert wide.macs - narrow.macs == 64 * blocks * 2 * d * (4 - 1.5) * d


def test_the_file_comes_near_the_printed_size() -> None:
    """386 M parameters are printed, 5 % saved by keys that are values; the number of middle blocks was chosen by it."""
    backbone = read(MODELS / "mobile_diffusion_512.yaml").data["backbone"]
    own, plain = (
        ablate.cost({"backbone": {**backbone, **fields}}, (4, 64, 64), 1000)
        for fields in ({}, {"attention": "softmax"})
    )
    assert (round(own.params / 1e6), round(own.gflops, 1)) == (392, 176.8)
    assert own.params / 386e6 == pytest.approx(1, abs=0.02)
    assert 1 - own.params / plain.params == pytest.approx(0.05, abs=0.002)


def test_without_them_no_identity_changes() -> None:
    plain, named = (
        ablate.create("backbone", {**UNET, **fields})
        for fields in ({}, {"separable_resolutions": [], "mlp_ratio": 4.0, "attention": {"type": "softmax"}})
    )
    assert plain.digest() == named.digest()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"separable_resolutions": [4]}, "separable convolutions at size 4, which does not occur"),
        ({"separable_resolutions": [8], "convolution": "separable"}, "leave separable_resolutions out"),
        ({"separable_resolutions": [8], "padding": "end"}, "say padding: both"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        cost(**fields)
