"""`t_fixup`: initial weights by depth, and what they allow: training without norms and without warm-up."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from learners import CPU, SETTING, candidate, images
from torch import nn

import ablate
from ablate.api import InputSpec
from ablate.errors import SpecError
from ablate.kinds.mixer import Projects
from ablate.training.learner import Learner
from ablate_zoo.backbone._transformer_modules import Block

PIXELS = InputSpec((3, 16, 16), 10)
DIT: dict[str, Any] = {"type": "dit", "patch": 4, "depth": 4, "width": 64, "heads": 2, "t_fixup": True}
WAYS = {
    "dit": (DIT, 4),
    "uvit": ({**DIT, "type": "uvit", "depth": 5, "init": "xavier"}, 5),
    "ddt": ({**DIT, "type": "ddt", "decoder_depth": 2, "mlp": "swiglu"}, 6),
    "hourglass": ({**DIT, "type": "hourglass", "zero_init": False}, 8),
    "left out": ({**DIT, "without": [1, 2], "conditioning": "cross_attention", "attention": "linear"}, 4),
    "unet": (
        {
            "type": "unet",
            "width": 32,
            "multipliers": [1, 2],
            "blocks": 1,
            "middle_blocks": 3,
            "attention_resolutions": [],
            "transformer_resolutions": [8],
            "zero_init": False,
            "t_fixup": True,
        },
        6,
    ),
}


def built(spec: dict[str, Any], setting: InputSpec = PIXELS) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = ablate.create("backbone", spec).build(setting)
    return network


@pytest.mark.parametrize(("spec", "depth"), WAYS.values(), ids=list(WAYS))
def test_weights_are_xavier_s_times_the_rule_for_encoders(spec: dict[str, Any], depth: int) -> None:
    blocks = [module for module in built(spec).modules() if isinstance(module, Block)]
    assert len(blocks) == depth - len(spec.get("without", ()))
    scale = 0.67 * depth**-0.25
    for block in blocks:
        attending = [module for module in block.modules() if isinstance(module, Projects)]
        assert len(attending) == (2 if spec.get("conditioning") == "cross_attention" else 1)
        told = [pair for module in attending for pair in module.projections().items()]
        told += [("mlp", layer.weight) for layer in block.mlp.branch.modules() if isinstance(layer, nn.Linear)]
        for name, weight in told:
            bound = math.sqrt(6 / sum(weight.shape)) * (1 if name in ("query", "key") else scale)
            assert 0.98 * bound < weight.abs().max() <= bound * (1 + 1e-6), name
            assert float(weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05), name
        biases = [
            p for part in (block.attention, block.mlp) for name, p in part.branch.named_parameters() if "bias" in name
        ]
        assert biases and not any(bias.any() for bias in biases)


def grown(depth: int, **fields: Any) -> float:
    """Return how much larger in mean square the tokens are behind the blocks, without norms."""
    network = built({**DIT, "depth": depth, "norm": "none", "conditioning": "additive", **fields})
    sizes = []
    for block in (network.get_submodule("blocks.0"), network.get_submodule("head")):
        block.register_forward_pre_hook(lambda _, args: sizes.append(float(args[0].square().mean())))
    with torch.no_grad():
        network(torch.randn(2, *PIXELS.shape), torch.rand(2), torch.tensor([1, 2]))
    return sizes[1] / sizes[0]


def test_without_norms_tokens_stay_as_large_however_deep() -> None:
    assert all(0.5 < grown(depth) < 3 for depth in (2, 8, 64))
    assert grown(64, t_fixup=False) > 1e6


def loss(**fields: Any) -> float:
    """Return the mean loss of the last steps of a short training of 16 blocks at a high rate, without warm-up."""
    backbone = {"type": "dit", "patch": 4, "depth": 16, "width": 32, "heads": 2, "conditioning": "additive", **fields}
    who = Learner(
        candidate(backbone=backbone, optimizer={"type": "adamw", "lr": 2e-3}), SETTING, images(), 0, CPU, None
    )
    who.network.train()
    return sum(float(who.step(1000).loss) for _ in range(20)) / 20


def test_it_trains_without_norms_and_without_warm_up() -> None:
    normed, plain, fixed = loss(norm="layer"), loss(norm="none"), loss(norm="none", t_fixup=True)
    assert fixed < 1.1 * normed
    assert not plain < 10 * normed  # or it is not finite


def test_without_it_nothing_changes() -> None:
    plain = {name: value for name, value in DIT.items() if name != "t_fixup"}
    assert ablate.create("backbone", plain).digest() == ablate.create("backbone", {**DIT, "t_fixup": False}).digest()
    assert ablate.create("backbone", plain).digest() != ablate.create("backbone", DIT).digest()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({**DIT, "base_width": 32, "head_width": 32}, "leave one of the two out"),
        ({**DIT, "attention": "ssm"}, "attention 'ssm' has none; take one of queries, keys and values"),
        ({**DIT, "type": "uvit"}, "init is 'normal'; say init: xavier"),
        ({**DIT, "type": "hourglass"}, "say zero_init: false"),
        ({**DIT, "type": "hourglass", "zero_init": False, "outer_attention": "mamba"}, "attention 'mamba' has none"),
        ({**WAYS["unet"][0], "zero_init": True, "conditioning": "additive"}, "say zero_init: false"),
        ({**WAYS["unet"][0], "attention": "s4d"}, "attention 's4d' has none"),
        ({**WAYS["unet"][0], "weight_norm": "learned"}, "draws them anew"),
    ],
)
def test_what_does_not_fit_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ablate.create("backbone", spec)


def test_a_u_net_without_transformers_does_not_read_it() -> None:
    spec = {**WAYS["unet"][0], "transformer_resolutions": []}
    assert ablate.create("backbone", spec).unread_fields()["t_fixup"] == "no block is a transformer's"
