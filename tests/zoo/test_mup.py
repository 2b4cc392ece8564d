"""The maximal update parametrization (muP): sizes of activations do not follow the width, nor does the best rate."""

from __future__ import annotations

import copy
import re
from functools import partial

import learners
import pytest
import torch
from torch import nn

import ablate
from ablate.candidates.candidate import misfits
from ablate.discovery.catalog import catalog
from ablate.errors import SpecError
from ablate.kinds.backbone import network_blocks
from ablate.kinds.parameters import trained_parameters
from ablate.runtime.randomness import seed_all
from ablate.testing import Case, checks
from ablate.training.learner import Learner
from ablate.training.widths import base_shapes

WIDTHS = (32, 64, 128, 256)
DIT = {"type": "dit", "patch": 4, "depth": 2, "head_width": 16}
UVIT = {"type": "uvit", "patch": 4, "depth": 2, "head_width": 16}


def learner(width, base=32, rate=1e-2, steps=0, seed=0, backbone=DIT, **parts):
    spec = {**backbone, "width": width, "base_width": base}
    candidate = learners.candidate(backbone=spec, optimizer={"type": "adamw", "lr": rate}, **parts)
    made = Learner(candidate, learners.SETTING, learners.images(), seed, learners.CPU, None)
    return learners.train(made, steps)


def coordinates(trained):
    """Return the root mean square of what each block gives, and of the prediction."""
    found = {}
    for name, block in network_blocks(trained.network).items():
        block.register_forward_hook(lambda m, inputs, out, name=name: found.__setitem__(name, out))
    noised, labels = trained.batch()
    found["prediction"] = trained.predict(noised.x, 999 * noised.level.t.float(), labels)
    return torch.stack([out.detach().square().mean().sqrt() for out in found.values()])


@pytest.mark.parametrize(
    "backbone",  # a U-ViT is guarded by that with the other initial weights
    [DIT, pytest.param(UVIT, marks=pytest.mark.thorough), {**UVIT, "init": "xavier"}],
    ids=["dit", "uvit", "uvit-xavier"],
)
def test_activations_stay_as_large_at_every_width(backbone):
    """The coordinate check of Yang et al. 2022 (appendix D.1): the exponent with which they grow with the width."""
    log_width = torch.tensor(WIDTHS).float().log()
    exponents = []
    for base in (32, None):
        sizes = torch.stack([coordinates(learner(w, base, steps=6, backbone=backbone)) for w in WIDTHS]).log()
        centred = log_width - log_width.mean()
        exponents.append((centred[:, None] * sizes).sum(0) / centred.square().sum())
    assert exponents[0].abs().max() < 0.25, exponents
    assert exponents[1][:-1].max() > 1, exponents  # the standard parametrization at the same rate


def test_initial_weights_are_those_of_the_table():
    """Table 3: the variance of hidden weights goes with 1/width, that of the last layer with 1/width²."""
    kinds = {"hidden": r"(qkv|out|up|down|modulation.linear|second).weight"}
    kinds |= {"output": r"head.linear.weight", "fixed": r"tokens.embed.weight|first.weight|label.weight"}
    for backbone, fields in ((DIT, {"zero_init": False}), (UVIT, {"zero_init": False, "time_mlp": True})):
        seed_all(0)
        networks = [
            ablate.create("backbone", {**backbone, **fields, "width": w, "base_width": 128}).build(learners.SETTING)
            for w in (128, 512)
        ]
        seen = set()
        for (name, narrow), wide in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
            kind = next((kind for kind, names in kinds.items() if re.search(f"({names})$", name)), None)
            if kind is None:
                continue
            seen.add(kind)
            expected = {"hidden": 1 / 4, "output": 1 / 16, "fixed": 1}[kind]
            assert float((wide.var() / narrow.var()).detach()) == pytest.approx(expected, rel=0.15), name
        assert seen == set(kinds)


def test_rates_and_decay_follow_the_input_of_each_layer():
    """As `MuAdamW` of the authors' package has it for hidden weights; what an objective trains beside counts too."""
    parts = {"auxiliary": [{"type": "repa", "teacher": {"type": "classifier", "steps": 2}}]}
    made = learner(128, backbone={**DIT, "conditioning": "cross_attention"}, **parts)
    optimizer = {"type": "adamw", "lr": 1e-2, "weight_decay": 0.1, "embedding_rate": 3.0, "vector_rate": 0.5}
    groups = catalog().create("optimizer", optimizer).build(made.parameters).param_groups
    group_of = {id(p): group for group in groups for p in group["params"]}
    hidden = r"blocks.*weight|second.weight|head.linear.weight|objective.*weight"
    ratios = set()
    for one in made.parameters.named:
        group, wider = group_of[id(one.parameter)], bool(re.search(f"({hidden})$", one.name)) and one.role == "weight"
        ratio = 4 if wider else 1
        share = {"embedding": 3.0, "norm": 0.5, "bias": 0.5}.get(one.role, 1.0)
        assert group["rate_share"] == share / ratio, one.name
        assert group["weight_decay"] == pytest.approx(0.1 * ratio if one.parameter.ndim >= 2 else 0), one.name
        ratios.add((one.name.split(".")[0], ratio))
    assert {("tokens", 1), ("condition", 1), ("condition", 4), ("blocks", 4), ("head", 4), ("objective", 4)} <= ratios


def test_it_is_table_8_under_adam():
    """The other form of the paper: an output multiplier of base/width, and the last layer at the full rate."""
    networks = []
    for table in (3, 8):
        made = learner(128, backbone={**DIT, "zero_init": False})
        optimizer = catalog().create("optimizer", {"type": "adam", "lr": 1e-2, "eps": 1e-30})
        last = made.network.head.linear
        if table == 8:
            with torch.no_grad():
                last.weight.mul_(4)
            last.forward = partial(lambda layer, x: nn.functional.linear(x, layer.weight / 4, layer.bias), last)
        made.optimizer = optimizer.build(made.parameters)
        if table == 8:  # a group of its own, at the full rate
            for group in made.optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p is not last.weight]
            made.optimizer.add_param_group({"params": [last.weight], "rate_share": 1.0})
        networks.append(learners.train(made, 4).network)
    x, noise, labels = torch.randn(4, 1, 8, 8), torch.rand(4), torch.tensor([0, 1, 0, 1])
    with torch.no_grad():
        assert torch.allclose(networks[0](x, noise, labels), networks[1](x, noise, labels), atol=1e-3)


def test_at_the_base_width_everything_is_as_without_one():
    trained = [learner(32, base, steps=3).network.state_dict() for base in (32, None)]
    assert learners.same(*trained)
    heads = {**DIT, "width": 32, "head_width": None, "heads": 2}
    as_before = learners.learner(backbone=heads, optimizer={"type": "adamw", "lr": 1e-2})
    assert learners.same(learners.train(as_before, 3).network.state_dict(), trained[0])


def test_a_base_with_other_parameters_is_told():
    made = learner(64)
    shapes = dict(base_shapes(made.candidate, made.setting))
    del shapes["head.linear.weight"]
    with pytest.raises(ValueError, match=re.escape("no parameter 'head.linear.weight'")):
        trained_parameters(made.network, at_base=shapes)
    (check,) = [one for one in checks("backbone") if one.__name__ == "has_the_same_parameters_at_its_base_width"]
    for backbone in (DIT, UVIT):
        spec = {**copy.copy(backbone), "width": 64, "base_width": 32}
        check(Case(catalog().entry("backbone", spec.pop("type")), catalog(), spec))


@pytest.mark.parametrize(
    ("backbone", "optimizer", "told"),
    [
        (
            {"width": 64, "base_width": 32, "head_width": None, "heads": 2},
            "adamw",
            "say head_width, such as 32, in",
        ),
        ({"width": 64, "base_width": 40}, "adamw", "a head_width of 16 does not divide the base_width 40"),
        ({"width": 40}, "adamw", "a head_width of 16 does not divide the width 40; the nearest that does: 20"),
        ({"width": 64, "base_width": 32}, "sgd", "under base_width (muP) rates follow the width; take adamw"),
        (
            {"width": 60, "head_width": 6, "positions": "rope"},
            "adamw",
            "of 4, not 6; the nearest head_width that fit: 4",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(backbone, optimizer, told):
    with pytest.raises(SpecError, match=re.escape(told)):
        candidate = learners.candidate(backbone={**DIT, **backbone}, optimizer=optimizer)
        raise SpecError(misfits(candidate, None, learners.SETTING))
