"""Blocks that are left out: `without` of the U-Net and of the transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ablate
from ablate.errors import SpecError
from ablate.kinds.backbone import Backbone
from ablate.spec.component import InputSpec

SETTING = InputSpec((3, 16, 16), 10)
UNET = {"type": "unet", "width": 16, "multipliers": [1, 2], "blocks": 1, "attention_resolutions": [8], "heads": 2}


def transformer(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": name, "patch": 4, "depth": 5, "width": 32, "heads": 2, **fields}


def build(spec: dict[str, Any]) -> torch.nn.Module:
    torch.manual_seed(0)
    network: torch.nn.Module = create(spec).build(SETTING)
    for parameter in network.parameters():  # nothing at zero, so that a block that is there is seen
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def create(spec: dict[str, Any]) -> Backbone:
    component = ablate.create("backbone", spec)
    assert isinstance(component, Backbone)
    return component


def output(network: torch.nn.Module) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        value: torch.Tensor = network.eval()(torch.randn(2, 3, 16, 16), torch.rand(2), torch.tensor([1, 2]))
    return value


@pytest.mark.parametrize(
    ("spec", "without", "prefixes"),
    [
        (transformer("dit"), [1, 3], ["blocks.1.", "blocks.3."]),
        (transformer("uvit"), [0, 2, 4], ["encoder.0.", "middle.0.", "decoder.1."]),
        (transformer("ddt", decoder_depth=2), [4, 5], ["encoder.4.", "decoder.0."]),
        (
            UNET,
            ["decoder.attention.8", "middle.attention"],
            ["decoder.0.attention.", "decoder.1.attention.", "middle.0.a"],
        ),
        (UNET, ["encoder.attention.8.0", "middle.block.8.1"], ["encoder.2.attention.", "middle.1.body."]),
    ],
)
def test_the_network_is_the_whole_one_without_those_parts(
    spec: dict[str, Any], without: list[Any], prefixes: list[str]
) -> None:
    """The names of what stays are the whole network's, so that its weights can be taken; the cost is less by theirs."""
    whole, pruned = build(spec), build({**spec, "without": without})
    gone = whole.state_dict().keys() - pruned.state_dict().keys()
    assert gone and all(name.startswith(tuple(prefixes)) for name in gone)
    assert all(any(name.startswith(prefix) for name in gone) for prefix in prefixes)
    assert not pruned.state_dict().keys() - whole.state_dict().keys()
    pruned.load_state_dict({name: value for name, value in whole.state_dict().items() if name not in gone})
    assert not torch.allclose(output(pruned), output(whole))

    full, less = (ablate.cost({"backbone": one}, SETTING.shape, 10) for one in (spec, {**spec, "without": without}))
    parameters = {name for name, _ in whole.named_parameters()}
    assert full.params - less.params == sum(whole.state_dict()[name].numel() for name in gone & parameters)
    assert less.gflops < full.gflops


@pytest.mark.parametrize("spec", [transformer("dit"), transformer("uvit"), UNET])
def test_branches_that_give_nothing_are_the_same_as_none(spec: dict[str, Any]) -> None:
    """A block whose last layers are zero gives what passes by: exactly what is left of one that is left out."""
    is_unet = spec["type"] == "unet"
    without = ["middle.block.8.1"] if is_unet else [1]
    whole, pruned = (
        build({**spec, "conditioning": "additive"}),
        build({**spec, "conditioning": "additive", "without": without}),
    )
    layers = (
        ["middle.1.body.conv2"]
        if is_unet
        else [
            f"{'blocks.1' if spec['type'] == 'dit' else 'encoder.1'}.{layer}"
            for layer in ("attention.branch.out", "mlp.branch.down")
        ]
    )
    for layer in layers:
        for parameter in whole.get_submodule(layer).parameters():
            torch.nn.init.zeros_(parameter)
    kept = {name: value for name, value in whole.state_dict().items() if name in pruned.state_dict()}
    pruned.load_state_dict(kept)
    torch.testing.assert_close(output(pruned), output(whole))


@pytest.mark.parametrize(
    ("spec", "without", "words"),
    [
        (UNET, ["decoder.atention.8"], "did you mean 'decoder.attention.8'"),
        (UNET, ["decoder.attention.16"], "no part of this U-Net"),
        (UNET, ["decoder"], "no part of this U-Net"),
        (transformer("dit"), [7], "there is no block 7, but 0 to 4"),
        (transformer("dit"), [0, 1, 2, 3, 4], "leaves out all 5 blocks"),
        (transformer("ddt", decoder_depth=2), [7], "0 to 6"),
    ],
)
def test_a_name_of_no_part_is_refused_once(spec: dict[str, Any], without: list[Any], words: str) -> None:
    with pytest.raises(SpecError) as refused:
        ablate.cost({"backbone": {**spec, "without": without}}, SETTING.shape, 10)
    assert len(refused.value.problems) == 1
    assert words in str(refused.value)


def test_what_is_left_out_decides_and_its_order_does_not() -> None:
    plain = create(transformer("dit"))
    assert create(transformer("dit", without=[])).digest() == plain.digest()
    assert "without" not in plain.active()
    one, other = create(transformer("dit", without=[3, 1, 3])), create(transformer("dit", without=[1, 3]))
    assert one.digest() == other.digest() != plain.digest()
