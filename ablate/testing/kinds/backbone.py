"""Checks of a backbone: those of a network, and what it claims beyond that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args, get_origin

import torch

from ablate.candidates.candidate import meta_network
from ablate.kinds.backbone import Backbone
from ablate.kinds.conditions import CLASS, Conditions, Told, absent, told_record
from ablate.kinds.embedder import Embedder
from ablate.spec.inputs import ConditionSpec, InputSpec
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.networks import BATCH, batch, close, live
from ablate.testing.networks import CHECKS as OF_A_NETWORK
from ablate.testing.small import settle, shrink


def hears_its_second_label(case: Case) -> None:
    """With "second_label", a second noise label makes a difference; where it is the first one, it is as if left out."""
    told = [part for part in case.variants() if isinstance(part, Backbone) and "second_label" in part.provides()]
    if not told:
        raise NotApplicable("does not provide 'second_label'")
    setting = settle(told[0])
    network = live(shrink(told[0], setting), setting)
    x, noise, labels = batch(setting)
    with torch.no_grad():
        same = network(x, noise, labels, noise)
        assert torch.allclose(network(x, noise, labels), same), "without it the output is not that of equal labels"
        assert not torch.allclose(network(x, noise, labels, noise / 2), same), "the second label makes no difference"


def reads_its_conditions(case: Case) -> None:
    """What it says that it reads makes a difference, the class beside it too; dropped, its value makes none.

    A condition that the record does not hold is taken for one that is dropped.
    """
    names: set[str] = set()
    for backbone, setting, spec in _told(case):
        assert spec.name in backbone.reads(setting), f"{backbone!r}: has an embedder of {spec.name!r}, does not read it"
        network, (x, noise, labels) = live(backbone, setting), batch(setting)
        record = told_record(labels)
        dropped = record.tell(spec.name, absent(spec, BATCH, x))
        with torch.no_grad():
            one, other = (network(x, noise, record.tell(spec.name, _value(spec, seed))) for seed in (0, 1))
            lacking, without = network(x, noise, record), network(x, noise, dropped)
            value = _value(spec, 1)._replace(present=torch.zeros(BATCH, dtype=torch.bool))
            hidden = network(x, noise, record.tell(spec.name, value))
            plain = network(x, noise, Conditions({CLASS: Told(1 - record[CLASS].value.clamp(max=1))}))
        assert not close(one, other) and not close(one, without), f"{spec.form} {spec.name!r} makes no difference"
        assert torch.equal(hidden, without), f"reads the value of {spec.name!r} where it is dropped"
        assert torch.equal(lacking, without), f"takes {spec.name!r} for something else where the record lacks it"
        assert not close(plain, lacking), "does not read the class of a record"
        names.add(spec.form)
    if not names:
        raise NotApplicable("takes no embedders")


def _told(case: Case) -> Iterator[tuple[Backbone, InputSpec, ConditionSpec]]:
    """Yield the backbone, small, with one embedder of each sort, data with a condition for it, and that condition."""
    plain = case.component
    assert isinstance(plain, Backbone)
    fields = [name for name, info in type(plain).model_fields.items() if _takes_embedders(info.annotation)]
    for field in fields[:1]:
        setting = settle(plain)
        small = shrink(plain, setting)
        for embedder in case.partners("embedder"):
            for spec in _specs(setting):
                told = InputSpec(setting.shape, setting.classes, (spec,))
                part = embedder.model_copy(update={"of": spec.name})
                backbone = small.model_copy(update={field: (part,)})
                if spec.form in part.forms and not any(one.refuse(told) for _, one in backbone.parts()):
                    yield backbone, told, spec


def _takes_embedders(annotation: object) -> bool:
    return get_origin(annotation) is tuple and get_args(annotation)[:1] == (Embedder,)


def _specs(setting: InputSpec) -> list[ConditionSpec]:
    return [
        ConditionSpec("told", "text", (5,), 7),
        ConditionSpec("told", "scalars", (2,)),
        ConditionSpec("told", "image", (1, *setting.shape[1:])),
    ]


def _value(spec: ConditionSpec, seed: int) -> Told:
    generator = torch.Generator().manual_seed(seed)
    if spec.count is None:
        return Told(torch.randn(BATCH, *spec.shape, generator=generator))
    value = torch.randint(spec.count, (BATCH, *spec.shape), generator=generator)
    return Told(value, mask=torch.arange(spec.shape[0]).expand(BATCH, -1) < 4)


def has_the_same_parameters_at_its_base_width(case: Case) -> None:
    """`at_base_width` is a network with parameters of the same names, whose own base is as wide; rates are required."""
    part = case.component
    assert isinstance(part, Backbone)
    base = part.at_base_width()
    if base is None:
        raise NotApplicable("has no base width")
    setting = settle(part)
    names = [{name for name, _ in meta_network(one, setting).named_parameters()} for one in (part, base)]
    assert names[0] == names[1], f"at its base width it has other parameters: {sorted(names[0] ^ names[1])[:3]}"
    assert base.at_base_width() == base, "the base of its base is another one"
    assert "rates_by_width" in part.requires(), "rates have to follow the width: require 'rates_by_width'"


CHECKS: tuple[Check, ...] = (
    *OF_A_NETWORK,
    hears_its_second_label,
    reads_its_conditions,
    has_the_same_parameters_at_its_base_width,
)
