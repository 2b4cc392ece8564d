"""Networks that are told conditions: each is read by every way in, dropped it is not, padding is never looked at."""

from __future__ import annotations

import pytest
import torch
from learners import SETTING, candidate

from ablate.candidates.candidate import compose, cost_of, misfits
from ablate.discovery.catalog import catalog
from ablate.kinds.conditions import CLASS, Conditions, Told, told_record, without
from ablate.spec.inputs import ConditionSpec, InputSpec
from ablate.testing.networks import begin, live

TEXT = ConditionSpec("text", "text", (6,), 256)
SIZE = ConditionSpec("size", "scalars", (2,))
SMALL = ConditionSpec("low_resolution", "image", (1, 8, 8))
TOLD = InputSpec((1, 8, 8), 3, (TEXT, SIZE, SMALL))
TOKENS = {"patch": 4, "depth": 2, "width": 16, "heads": 2}
MAPS = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention_resolutions": [4], "groups": 4, "heads": 2}
EMBEDDERS = ["tokens", "fourier", "channels"]


def backbone(name, **fields):
    spec = {"type": name, **(MAPS if name == "unet" else TOKENS), **fields}
    return compose({"backbone": spec}, catalog()).backbone


def record(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(6).expand(count, 6) < torch.tensor([6, 1, 3])[:, None]
    told = {
        CLASS: Told(torch.randint(3, (count,), generator=generator)),
        "text": Told(torch.randint(256, (count, 6), generator=generator), mask=mask),
        "size": Told(torch.rand(count, 2, generator=generator) * 500),
        "low_resolution": Told(torch.randn(count, 1, 8, 8, generator=generator)),
    }
    return Conditions(told)


def output(network, told):
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        return network(x, torch.tensor([3.0, 500.0, 900.0]), told)


WAYS = [
    *[("dit", way) for way in ("adaln_zero", "adaln", "in_context", "cross_attention")],
    *[("uvit", way) for way in ("in_context", "adaln_zero")],
    *[("unet", way) for way in ("additive", "adagn", "adagn_zero", "cross_attention")],
]


@pytest.mark.parametrize(("name", "conditioning"), WAYS)
def test_every_way_in_reads_each_condition_and_none_that_is_dropped(name, conditioning):
    network = live(backbone(name, conditioning=conditioning, embedders=EMBEDDERS), TOLD)
    told, other = record(), record(seed=1)
    y = output(network, told)
    for one in told:
        changed = told.tell(one, other[one]._replace(mask=told[one].mask))
        assert not torch.allclose(output(network, changed), y, atol=1e-5), one
        gone, changed = (without(r, 3, [one]) for r in (told, changed))
        if one != CLASS:
            lacking = Conditions({n: t for n, t in told.items() if n != one})
            assert torch.equal(output(network, lacking), output(network, gone))
        assert torch.equal(output(network, gone), output(network, changed)), one
        assert not torch.allclose(output(network, gone), y, atol=1e-5), one
    nothing = without(told, 3)
    assert torch.equal(output(network, nothing), output(network, without(other, 3)))


@pytest.mark.parametrize(("name", "conditioning"), [w for w in WAYS if w[1] in ("cross_attention", "in_context")])
def test_what_stands_in_the_place_of_padding_never_matters(name, conditioning):
    network = live(
        backbone(name, conditioning=conditioning, embedders=[{"type": "tokens", "depth": 1}, *EMBEDDERS[1:]]), TOLD
    )
    told = record()
    value, mask = told["text"].value, told["text"].mask
    padded = told.tell("text", Told(torch.where(mask, value, 255 - value), mask=mask))
    assert torch.equal(output(network, padded), output(network, told))
    if conditioning == "cross_attention":  # nor how much of it there is: the learned vector of padding is not looked at
        special = next(p for n, p in network.named_parameters() if n.endswith("text.special"))
        before = output(network, told)
        with torch.no_grad():
            special[0] += 7.0
        assert torch.allclose(output(network, told), before, atol=1e-5)


def test_a_class_with_an_embedder_has_no_table_beside_it():
    plain, linear = backbone("dit"), backbone("dit", embedders=[{"type": "linear", "of": "class"}])
    labels = torch.tensor([0, 1, 2])
    network = live(linear, SETTING)
    assert cost_of(plain, SETTING).params - cost_of(linear, SETTING).params == 16  # a row: the null class needs none
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        y = network(x, torch.ones(3), labels.clamp(max=1))
        assert torch.equal(network(x, torch.ones(3), told_record(labels.clamp(max=1))), y)
        null = network(x, torch.ones(3), torch.full((3,), 2))
        dropped = without(told_record(labels.clamp(max=1)), 2)
        assert torch.equal(network(x, torch.ones(3), dropped), null) and not torch.allclose(null, y, atol=1e-5)


def test_an_upsampler_is_a_unet_with_the_small_image_as_channels():
    """`low_resolution: true` and the embedder are one network: the same weights, costs and outputs."""
    setting = InputSpec((1, 8, 8), 3, (SMALL,))
    short, said = (
        backbone("unet", low_resolution=True),
        backbone("unet", embedders=[{"type": "channels", "of": SMALL.name}]),
    )
    one, other = begin(short, setting).state_dict(), begin(said, setting).state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert cost_of(short, setting) == cost_of(said, setting)
    told = Conditions({name: record()[name] for name in (CLASS, SMALL.name)})
    assert torch.equal(output(live(short, setting), told), output(live(said, setting), told))
    assert short.reads(setting) == said.reads(setting) == {SMALL.name}


@pytest.mark.parametrize(
    ("parts", "conditions", "told"),
    [
        ({}, (TEXT,), "'dit' does not read the condition 'text' (text); say backbone.embedders: [{type: …, of: text}]"),
        (
            {"embedders": ["tokens"]},
            (),
            "embeds a condition that is text, and there is none (conditions here: class (class))",
        ),
        (
            {"embedders": [{"type": "fourier", "of": "sise"}]},
            (SIZE,),
            "a condition 'sise' as scalars, and there is none",
        ),
        (
            {"embedders": ["fourier"]},
            (SIZE, ConditionSpec("speed", "scalars", (1,))),
            "several conditions are scalars: size, speed",
        ),
        (
            {"embedders": ["tokens", {"type": "tokens", "of": "text"}]},
            (TEXT,),
            "two embedders embed the condition 'text'",
        ),
        (
            {"embedders": ["channels"]},
            (ConditionSpec("small", "image", (1, 4, 4)),),
            "'small' is 4×4, the noisy one 8×8",
        ),
        ({"embedders": [{"type": "tokens", "pooled": False}]}, (TEXT,), "needs 'condition_tokens'"),
        ({"type": "unet", "low_resolution": True}, (), "needs 'low_resolution'"),
        (
            {"type": "unet", "low_resolution": True},
            (ConditionSpec(SMALL.name, "scalars", (1,)),),
            "and the condition is low_resolution (1 number)",
        ),
        (
            {"type": "unet", "low_resolution": True, "embedders": [{"type": "channels", "of": SMALL.name}]},
            (SMALL,),
            "leave one of the two out",
        ),
    ],
)
def test_networks_and_conditions_that_do_not_fit_are_refused_in_one_message(parts, conditions, told):
    fields = MAPS if parts.get("type") == "unet" else TOKENS
    made = compose({"backbone": {"type": "dit", **fields, **parts}}, catalog())
    problems = misfits(made, None, InputSpec((1, 8, 8), 3, conditions), provided={"labels"})
    assert len(problems) == 1, problems
    assert told in problems[0].message


def test_guidance_by_what_is_not_there_is_refused():
    for guidance, conditions, told in (
        ({"type": "cfg", "of": ["caption"]}, (TEXT,), "no condition 'caption' to guide by; there is class, text"),
        ({"type": "cfg", "of": ["told"]}, (ConditionSpec("told", "scalars", (1,), held=True),), "no condition 'told'"),
    ):
        embedders = ["tokens"] if conditions == (TEXT,) else ["fourier"]
        made = candidate(guidance=guidance, backbone={"type": "dit", **TOKENS, "embedders": embedders})
        (problem,) = misfits(made, None, InputSpec((1, 8, 8), 3, conditions), provided={"labels"})
        assert told in problem.message
    made = candidate(guidance="classifier", backbone={"type": "dit", **TOKENS, "embedders": ["tokens"]})
    (problem,) = misfits(made, None, InputSpec((1, 8, 8), None, (TEXT,)))
    assert "needs 'labels', which nothing here provides: a classifier learns from labelled images" in problem.message
    held = InputSpec((1, 8, 8), None, (ConditionSpec("told", "scalars", (1,), held=True),))
    made = candidate(guidance="cfg", backbone={"type": "dit", **TOKENS, "embedders": ["fourier"]})
    (problem,) = misfits(made, None, held)
    assert "needs 'conditions'" in problem.message  # what is never dropped is nothing to guide by
