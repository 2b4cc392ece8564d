"""What a network takes over from that of a parent, and whether it is the same function then."""

from typing import Any

import pytest
import torch
from learners import CPU, candidate, images, learner, train
from learners import SETTING as SMALL

from ablate.api import InputSpec
from ablate.candidates.candidate import Candidate
from ablate.training.inheritance import Inheritance, Lineage
from ablate.training.learner import Learner

SETTING = InputSpec((1, 16, 16), 3)
LINEAGE = Lineage("0" * 12, 1, 1.0)
DIT = {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2}
UVIT = {"type": "uvit", "patch": 4, "depth": 3, "width": 16, "heads": 2}
HOURGLASS = {"type": "hourglass", "patch": 2, "depth": 2, "width": 16, "heads": 2, "outer_depths": [1]}
DDT = {"type": "ddt", "patch": 4, "depth": 2, "decoder_depth": 1, "width": 16, "heads": 2}
UNET = {"type": "unet", "width": 8, "groups": 4, "multipliers": [1, 2], "blocks": 1, "heads": 2}
UNET["attention_resolutions"] = [8]


def moved(of: Candidate) -> torch.nn.Module:
    """Its network, with weights away from where they begin, so that every layer counts."""
    torch.manual_seed(0)
    network = of.backbone.build(SETTING)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def child_of(parent: dict[str, Any], child: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The two networks, and what a record says of the inheritance."""
    older, younger = candidate(backbone=parent), candidate(backbone=child)
    before = moved(older)
    torch.manual_seed(1)
    network = younger.backbone.build(SETTING)
    inheritance = Inheritance(before.state_dict(), older, younger, SETTING, LINEAGE)
    inheritance.enter(network)
    return before, network, inheritance.facts


@pytest.mark.parametrize(
    ("parent", "change"),
    [
        *((DIT | {"conditioning": how}, {"depth": 4}) for how in ("adaln_zero", "adaln", "in_context")),
        (DIT | {"conditioning": "cross_attention"}, {"depth": 3}),
        (DIT | {"norm_placement": "sandwich", "conditioning": "in_context"}, {"depth": 3}),
        (DIT | {"attention": "mamba", "mlp": "swiglu", "conditioning": "in_context"}, {"depth": 3}),
        (UVIT, {"depth": 7}),  # two more in each half
        (UVIT | {"depth": 4}, {"depth": 5}),  # one in the middle
        (DDT, {"depth": 3}),
        (DDT, {"decoder_depth": 3}),
        (HOURGLASS, {"depth": 3, "outer_depths": [2]}),
        (UNET, {"blocks": 2}),
        (UNET | {"zero_init": False}, {"blocks": 3}),
        (UNET | {"conditioning": "adagn_zero"}, {"blocks": 2}),
        (UNET, {"level_blocks": [3, 1]}),
    ],
)
def test_a_deeper_network_is_the_same_function_and_can_learn_in_its_new_blocks(
    parent: dict[str, Any], change: dict[str, Any]
) -> None:
    before, network, facts = child_of(parent, parent | change)
    assert facts["gap"] == 0
    kept = sum(p.numel() for p in before.parameters())
    assert facts["share"] == pytest.approx(kept / sum(p.numel() for p in network.parameters()))
    x, noise = torch.randn(4, *SETTING.shape), torch.rand(4)
    network.train()
    for _ in range(4):  # what stands behind a zero learns once that has moved
        network(x, noise, torch.zeros(4, dtype=torch.int64)).square().mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(0.1 * parameter.grad) if parameter.grad is not None else None
                moves = parameter.grad is not None and bool(parameter.grad.any())
                parameter.moves = getattr(parameter, "moves", False) or moves  # type: ignore[attr-defined]
        network.zero_grad()
    names = dict(before.named_parameters())
    new = {name: p for name, p in network.named_parameters() if name not in names}
    still = [name for name, p in new.items() if p.ndim > 1 and not p.moves]  # type: ignore[attr-defined]
    assert not still


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        (DIT | {"depth": 3}, DIT),
        (DIT, DIT | {"width": 32}),
        (DIT | {"width": 32}, DIT),
        (DIT, DIT | {"mlp_ratio": 2.0}),
        (UVIT, UVIT | {"depth": 4}),  # the block in the middle is gone
        (UVIT | {"fusion": "add"}, UVIT | {"fusion": "add", "depth": 5}),  # a sum cannot leave its skip out
    ],
)
def test_what_is_no_longer_the_same_function_says_so(parent: dict[str, Any], child: dict[str, Any]) -> None:
    _, _, facts = child_of(parent, child)
    assert facts["gap"] > 0.01 and 0 < facts["share"] <= 1


def test_a_wider_network_has_the_leading_part_of_each_head() -> None:
    before, network, facts = child_of(DIT, DIT | {"width": 32})
    assert 0.2 < facts["share"] < 0.5
    narrow, wide = before.blocks[0].attention.branch, network.blocks[0].attention.branch
    torch.testing.assert_close(wide.qkv.weight.view(3, 2, 16, 32)[:, :, :8, :16], narrow.qkv.weight.view(3, 2, 8, 16))
    torch.testing.assert_close(wide.out.weight.view(32, 2, 16)[:16, :, :8], narrow.out.weight.view(16, 2, 8))
    torch.testing.assert_close(
        network.blocks[1].modulation.linear.weight.view(6, 32, 32)[:, :16, :16],
        before.blocks[1].modulation.linear.weight.view(6, 16, 16),
    )


def test_another_shape_of_an_unknown_making_begins_anew() -> None:
    _, network, facts = child_of(UNET, UNET | {"width": 16})
    assert facts["share"] < 0.01
    torch.manual_seed(1)
    plain = candidate(backbone=UNET | {"width": 16}).backbone.build(SETTING)
    assert torch.equal(network.encoder[0].body.conv1.weight, plain.encoder[0].body.conv1.weight)


def test_an_hourglass_of_other_levels_begins_anew() -> None:
    levels = {"outer_widths": [0.5, 0.5], "outer_depths": [1, 1]}
    for change in (levels, {"outer_widths": [1.0]}):
        _, network, facts = child_of(HOURGLASS, HOURGLASS | change)
        torch.manual_seed(1)
        plain = candidate(backbone=HOURGLASS | change).backbone.build(SETTING)
        same = [torch.equal(one, other) for one, other in zip(network.parameters(), plain.parameters(), strict=True)]
        assert all(same) == (facts["share"] == 0) == (change is levels) and facts["share"] < 1


def test_dimr_inherits_where_its_branches_have_as_many_blocks() -> None:
    dimr = {"type": "dimr", "patch": 4, "depth": 3, "width": 16, "heads": 2, "kernel": 3}
    assert child_of(dimr, dimr | {"depth": 5})[2]["share"] == 0
    before, network, facts = child_of(dimr, dimr | {"kernel": 5})
    assert 0.9 < facts["share"] < 1
    torch.testing.assert_close(network.cascades[0].linear.weight, before.cascades[0].linear.weight)


def test_random_frequencies_of_another_scale_are_the_childs_own() -> None:
    fourier = UNET | {"noise_embedding": "fourier_pairs"}
    before, network, _ = child_of(fourier, fourier | {"fourier_scale": 2.0})
    assert network.condition.level.waves.frequency.std() < 4 < before.condition.level.waves.frequency.std()
    before, network, facts = child_of(fourier, fourier | {"blocks": 2})
    assert torch.equal(network.condition.level.waves.frequency, before.condition.level.waves.frequency)
    assert facts["gap"] == 0


def test_of_another_family_only_what_is_the_same_is_taken() -> None:
    before, network, facts = child_of(DIT, UVIT | {"time_mlp": True})
    assert 0 < facts["share"] < 0.5
    torch.testing.assert_close(network.condition.level.first.weight, before.condition.level.first.weight)


def test_a_training_goes_on_from_there_and_the_same_way_twice() -> None:
    parent = train(learner(), 3)
    weights = {name: tensor.detach().clone() for name, tensor in parent.network.state_dict().items()}
    spec = {"type": "dit", "patch": 4, "depth": 2, "width": 16, "heads": 2}
    losses = []
    for _ in range(2):
        inheritance = Inheritance(weights, candidate(), candidate(backbone=spec), SMALL, LINEAGE)
        grown = learner_from(inheritance, spec)
        assert torch.equal(grown.network.state_dict()["tokens.embed.weight"], weights["tokens.embed.weight"])
        grown.network.train()
        losses.append(float(grown.step(1000).loss))
    assert losses[0] == losses[1]
    fresh = learner(backbone=spec)
    fresh.network.train()
    assert float(fresh.step(1000).loss) != losses[0]


def learner_from(inheritance: Inheritance, backbone: dict[str, Any]) -> Learner:
    return Learner(candidate(backbone=backbone), SMALL, images(), 0, CPU, None, beginning=inheritance)
