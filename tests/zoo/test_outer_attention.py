"""Another attention at the large sizes of a U-Net than at the small ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ablate
from ablate.errors import SpecError
from ablate.spec.component import InputSpec
from ablate_zoo.layers.attention import DotProduct, LinearProduct, SelfAttention

SETTING = InputSpec((3, 16, 16), 10)
UNET: dict[str, Any] = {
    "type": "unet",
    "width": 16,
    "multipliers": [1, 1, 2],
    "blocks": 1,
    "attention_resolutions": [16, 8, 4],
    "outer_attention_resolutions": [16, 8],
    "heads": 2,
}


def cost(**fields: Any) -> Any:
    return ablate.cost({"backbone": UNET | fields}, SETTING.shape, 10)


def attending(**fields: Any) -> dict[str, type[nn.Module]]:
    """By the cell's name, what its attention multiplies by."""
    torch.manual_seed(0)
    built: nn.Module = ablate.create("backbone", UNET | fields).build(SETTING)
    modules = built.named_modules()
    return {name.partition(".attention")[0]: type(m.product) for name, m in modules if isinstance(m, SelfAttention)}


def test_linear_at_the_large_sizes_and_full_at_the_smallest() -> None:
    """Lucidrains' order: linear attention outside, full attention at the smallest size and in the middle."""
    large = [*("encoder.0", "encoder.2"), *("decoder.3", "decoder.4", "decoder.6", "decoder.7")]
    small = ["encoder.4", "middle.0", "decoder.0", "decoder.1"]
    assert attending() == dict.fromkeys(large, LinearProduct) | dict.fromkeys(small, DotProduct)
    assert set(attending(outer_attention="softmax").values()) == {DotProduct}
    assert set(attending(outer_attention_resolutions=[16, 8, 4]).values()) == {LinearProduct}  # the middle too


def test_costs_what_each_size_costs() -> None:
    """Attention of N tokens is 2·N²·D multiplications, linear attention 2·N·D²/heads; of as many parameters."""
    full, mixed = cost(outer_attention_resolutions=[]), cost()
    assert full.params == mixed.params
    assert full.macs - mixed.macs == sum(3 * 2 * (n * n * 16 - n * 16 * 16 // 2) for n in (256, 64))


def test_transformer_blocks_of_a_size_take_it_too() -> None:
    fields = {"transformer_resolutions": [8], "attention_resolutions": [], "outer_attention_resolutions": [8]}
    assert set(attending(**fields, middle_attention=False).values()) == {LinearProduct}


def test_without_sizes_no_identity_changes() -> None:
    plain = {field: value for field, value in UNET.items() if field != "outer_attention_resolutions"}
    bare = ablate.create("backbone", plain)
    named = ablate.create("backbone", plain | {"outer_attention": "linear", "outer_attention_resolutions": []})
    assert bare.digest() == named.digest()
    assert "names no size" in bare.unread_fields()["outer_attention"]


def test_what_only_one_of_the_two_reads_is_read() -> None:
    assert "heads" not in ablate.create("backbone", UNET | {"attention": "ssm"}).unread_fields()
    assert "heads" in ablate.create("backbone", UNET | {"attention": "ssm", "outer_attention": "ssm"}).unread_fields()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attention_resolutions": [8]}, "names size 16, where nothing attends; sizes that do: 8, 4"),
        ({"outer_attention_resolutions": [32]}, "names size 32, where nothing attends; sizes that do: 16, 8, 4"),
        (
            {"transformer_resolutions": [4], "t_fixup": True, "zero_init": False, "outer_attention": "ssm"},
            "attention 'ssm' has none",
        ),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        cost(**fields)
