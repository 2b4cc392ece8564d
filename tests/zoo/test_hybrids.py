"""U-Nets with transformer blocks at some sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ablate
from ablate.errors import SpecError
from ablate.kinds.backbone import Backbone
from ablate.spec.component import InputSpec

MODELS = Path(__file__).parents[2] / "studies" / "models"
SETTING = InputSpec((3, 16, 16), 10)
HYBRID: dict[str, Any] = {
    "type": "unet",
    "width": 16,
    "multipliers": [1, 2],
    "level_blocks": [2, 1],
    "middle_blocks": 3,
    "attention_resolutions": [],
    "transformer_resolutions": [8],
    "heads": 2,
    "conditioning": "additive",
}


def network(**fields: Any) -> nn.Module:
    component = ablate.create("backbone", HYBRID | fields)
    assert isinstance(component, Backbone)
    torch.manual_seed(0)
    built: nn.Module = component.build(SETTING)
    return built


def blocks(built: nn.Module) -> list[str]:
    return [name for name, module in built.named_modules() if type(module).__name__ == "Block"]


def test_blocks_of_a_size_are_those_of_a_transformer() -> None:
    """As many as level_blocks and middle_blocks say, with the parameters that are worked out by hand."""
    built, d, embedding = network(), 32, 64
    # encoder: 2 of size 16, a change of size, 1 of size 8; middle 3; decoder: 2 of size 8, a change of size, 3
    assert blocks(built) == [
        *("encoder.3.body.block", "middle.0.body.block", "middle.1.body.block", "middle.2.body.block"),
        *("decoder.0.body.block", "decoder.1.body.block"),
    ]
    attention, mlp, norms, added = 4 * d * d + 4 * d, 8 * d * d + 5 * d, 2 * 2 * d, (embedding + 1) * 2 * d
    block = built.get_submodule("middle.1.body")
    assert sum(p.numel() for p in block.parameters()) == attention + mlp + norms + added
    assert ablate.cost({"backbone": HYBRID}, SETTING.shape, 10).params == sum(p.numel() for p in built.parameters())


def test_a_block_adds_nothing_at_first_and_then_learns() -> None:
    built = network()
    block = built.get_submodule("middle.0.body")
    told = built.get_submodule("condition")(torch.rand(2), torch.tensor([1, 2]), None)
    x = torch.randn(2, 32, 8, 8)
    torch.testing.assert_close(block(x, told), x)
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        built(torch.randn(2, 3, 16, 16), torch.rand(2), torch.tensor([1, 2])).sub(1).square().mean().backward()
        optimizer.step()
    lost = [name for name, p in built.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not lost
    assert not torch.allclose(block(x, told), x)


def test_the_u_vit_of_simple_diffusion_comes_near_its_printed_size() -> None:
    """2455 M parameters and 555 Gflops are printed, and the paper's settings were not at hand: as near as was found."""
    row = ablate.published().query("model == 'U-ViT-L'").iloc[0]
    cost = ablate.cost(MODELS / "simple_uvit_imagenet512.yaml")
    assert (row["params_M"], row["gflops"]) == (2455, 555)
    assert (round(cost.params / 1e6), round(cost.gflops, 1)) == (2484, 563.5)


def test_the_embedding_is_as_wide_as_it_is_told() -> None:
    """By hand: its two layers, the table of classes, and a layer of each block that reads it."""
    e = 48
    told, own = network(embedding_width=e), network()
    level = (16 + 1) * e + (e + 1) * e + 11 * e
    assert sum(p.numel() for p in told.get_submodule("condition").parameters()) == level
    changed = sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in told.parameters())
    blocks = 5 * 16 + 6 * 2 * 32  # of residual blocks, and of transformer blocks twice their width
    assert changed == (16 + 1) * 64 + 65 * 64 + 11 * 64 - level + (64 - e) * blocks


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"transformer_resolutions": [4]}, "does not occur"),
        ({"level_blocks": [1]}, "level_blocks has 1 numbers, and multipliers 2"),
        ({"rescale": "sqrt_half"}, "say rescale: none"),
        ({"heads": 3}, "does not divide 32 channels"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ablate.cost({"backbone": HYBRID | fields}, SETTING.shape, 10)
