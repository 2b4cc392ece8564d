"""norm `time_dependent`: to its formula, in each place of a network, and where it would say nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ablate
from ablate.api import InputSpec
from ablate.errors import SpecError
from ablate_zoo.layers.norms import TimeDependentNorm

SETTING = InputSpec((3, 8, 8), 10)
DIT: dict[str, Any] = {
    "type": "dit",
    "patch": 2,
    "depth": 2,
    "width": 32,
    "heads": 2,
    "conditioning": "in_context",
    "norm": "time_dependent",
}


def network(**fields: Any) -> nn.Module:
    torch.manual_seed(0)
    built: nn.Module = ablate.create("backbone", {**DIT, **fields}).build(SETTING)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return built


def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return torch.randn(2, 3, 8, 8), torch.tensor([0.4, 800.0]), torch.tensor([3, 10])


@pytest.mark.parametrize("statistics", ["layer", "rms"])
def test_is_what_the_paper_describes(statistics: str) -> None:
    module = ablate.create("norm", {"type": "time_dependent", "statistics": statistics}).build(8, True).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    x, noise = torch.randn(3, 5, 8, dtype=torch.float64), torch.tensor([-0.5, 1.0, 600.0])

    def over_time(part: nn.Module) -> torch.Tensor:
        p = dict(part.named_parameters())
        share = 1 / (1 + torch.exp(-(p["slope"] * torch.asinh(noise).double()[:, None] + p["offset"])))
        return (share * p["first"] + (1 - share) * p["second"])[:, None]

    if statistics == "layer":
        expected = F.layer_norm(x, (8,), eps=1e-6) * over_time(module.scale) + over_time(module.shift)
    else:
        assert module.shift is None
        expected = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * over_time(module.scale)
    torch.testing.assert_close(module(x, noise), expected)


def test_begins_as_the_plain_norm_and_costs_as_much() -> None:
    module, x = TimeDependentNorm(8, True), torch.randn(2, 3, 4, 8)
    torch.testing.assert_close(module(x, torch.tensor([0.1, 900.0])), F.layer_norm(x, (8,), eps=1e-6))
    timed, plain, adaptive = (
        ablate.cost({"backbone": {**DIT, **fields}}, SETTING.shape, 10)
        for fields in ({}, {"norm": "layer"}, {"norm": "layer", "conditioning": "adaln"})
    )
    assert (timed.macs, timed.gflops) == (plain.macs, plain.gflops)
    assert timed.params - plain.params == 5 * 6 * 32  # 8 vectors for 2, in two norms a block and the last one
    assert timed.params < adaptive.params


OPTIONS: list[dict[str, Any]] = [
    {},
    {"norm_placement": "post"},
    {"norm_placement": "sandwich"},
    {"parallel": True},
    {"conditioning": "adaln_zero", "norm_affine": "always"},
    {"type": "ddt", "norm": {"type": "time_dependent", "statistics": "rms"}},
    {"type": "hourglass", "outer_widths": [0.5]},
    {"type": "uvit", "depth": 3},
]


@pytest.mark.parametrize("fields", OPTIONS, ids=lambda fields: "-".join(map(str, fields.values())) or "plain")
def test_every_norm_of_a_network_is_told_the_noise(fields: dict[str, Any]) -> None:
    made = network(**fields)
    norms = [module for module in made.modules() if isinstance(module, TimeDependentNorm)]
    told: list[torch.Tensor] = []
    for norm in norms:
        norm.register_forward_pre_hook(lambda _, args: told.append(args[1]))
    x, noise, labels = inputs()
    made(x, noise, labels).square().mean().backward()
    assert len(told) >= len(norms) >= 4 and all(torch.equal(one, noise) for one in told)
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"conditioning": "adaln"}, "'unmodulated' leaves out under conditioning 'adaln'; say norm_affine: always"),
        ({"norm_affine": "never"}, "norm_affine 'never' leaves out; say norm_affine: always"),
    ],
)
def test_where_it_would_say_nothing_it_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ablate.create("backbone", {**DIT, **fields})
