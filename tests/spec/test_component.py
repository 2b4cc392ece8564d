"""Specs: validation with paths, identity of active fields, the JSON round trip."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from ablate.errors import Problem, SpecError
from ablate.spec.component import Added, Choice, Component, Config, Extent, When, slot
from ablate.spec.slots import create, fill


class Gate(Component):
    kind: ClassVar[str] = "test_gate"


class Plain(Gate):
    name = "plain"


class Soft(Gate):
    name = "soft"
    heat: Annotated[float, Field(gt=0)] = 1.0


class Net(Component):
    kind: ClassVar[str] = "test_net"


class Block(Net):
    name = "block"
    width: Annotated[int, Field(ge=1), Choice(2, 4)] = 8
    rate: float = 0.5
    bias: bool = True
    mode: Literal["flat", "deep"] = "flat"
    layers: Annotated[int, When("mode", ("deep",))] = 3
    workers: Annotated[int, Extent()] = 1
    gate: Gate = slot("soft")
    spare: Gate | None = None
    gates: tuple[Gate, ...] = ()


class Inner(Config):
    size: Annotated[int, Field(ge=1)] = 1
    gate: Gate = slot("plain")


class Outer(Config):
    net: Net = slot()
    inner: Inner
    second: Inner = Inner(gate=Plain())


class Known:
    """A resolver of the classes above."""

    classes = {("test_gate", "plain"): Plain, ("test_gate", "soft"): Soft, ("test_net", "block"): Block}

    def get(self, kind: str, name: str) -> type[Component]:
        if (kind, name) not in self.classes:
            raise SpecError([Problem((), f"there is no {kind} {name!r}")])
        return self.classes[kind, name]

    def names(self, kind: str) -> list[str]:
        return [name for k, name in self.classes if k == kind]

    def default(self, kind: str) -> str | None:
        return "block" if kind == "test_net" else None


def make(**spec: object) -> Component:
    return create(Net, {"type": "block", **spec}, Known())


def problems(**spec: object) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(SpecError) as caught:
        make(**spec)
    return {p.path: p.message for p in caught.value.problems}


specs = st.fixed_dictionaries(
    {"type": st.just("block")},
    optional={
        "width": st.integers(1, 10**9),
        "rate": st.floats(allow_nan=False, allow_infinity=False),
        "bias": st.booleans(),
        "mode": st.sampled_from(["flat", "deep"]),
        "layers": st.integers(-(2**63 - 1), 2**63 - 1),
        "workers": st.integers(-(2**63 - 1), 2**63 - 1),
        "gate": st.sampled_from(["plain", "soft", {"type": "soft", "heat": 2.5}]),
        "spare": st.sampled_from([None, "plain"]),
        "gates": st.lists(st.sampled_from(["plain", {"type": "soft", "heat": 3}]), max_size=3),
    },
)


@settings(deadline=None)
@given(specs)
def test_json_round_trip_gives_the_same_component(spec: dict[str, object]) -> None:
    net = create(Net, spec, Known())
    again = create(Net, json.loads(json.dumps(net.spec())), Known())
    assert again == net
    assert again.digest() == net.digest()
    assert hash(again) == hash(net)


def test_defaults_fill_slots() -> None:
    net = make()
    assert net.gate == Soft()
    assert create(Net, "block", Known()) == net
    assert create(Net, {}, Known()) == net  # the kind's own default
    assert make(gate={"heat": 2.0}).gate == Soft(heat=2.0)  # a mapping without `type` is the slot's default


def test_identity_is_that_of_the_active_fields() -> None:
    assert make(layers=9).digest() == make().digest()  # `layers` is not read while mode is flat
    assert make(mode="deep", layers=9).digest() != make(mode="deep").digest()
    assert make(workers=9).digest() == make().digest()  # an extent
    assert make(width=9).digest() != make().digest()
    assert make(gate={"type": "soft", "heat": 2}).digest() != make().digest()
    assert "layers" not in make().active()
    assert make().spec()["layers"] == 3


def test_a_field_that_is_added_changes_no_identity() -> None:
    """Here and inside of another config; any other value than that of before is another identity."""

    class Later(Net):
        name = "later"
        dropout: Annotated[float, Field(ge=0, lt=1), Added(before=0.0)] = 0.0
        router: Annotated[Gate, Added(before={"type": "plain"})] = slot("plain")

    class Default(Later):
        name = "later"
        dropout: Annotated[float, Field(ge=0, lt=1), Added(before=0.0)] = 0.1  # the default was changed after that

    class Before(Net):
        name = "later"

    def of(cls: type[Net]) -> Known:
        resolver = Known()
        resolver.classes = {**Known.classes, ("test_net", "later"): cls}
        return resolver

    before, later = create(Net, "later", of(Before)), create(Net, "later", of(Later))
    assert later.digest() == before.digest()
    assert create(Net, "later", of(Default)).digest() != before.digest()
    assert create(Net, {"type": "later", "dropout": 0.0}, of(Default)).digest() == before.digest()
    others = [{"dropout": 0.1}, {"router": "soft"}]
    changed = [create(Net, {"type": "later", **other}, of(Later)) for other in others]
    assert len({part.digest() for part in (before, *changed)}) == 3
    assert later.spec()["dropout"] == 0.0  # what runs says everything
    assert Outer(net=later, inner=Inner(gate=Plain())).digest() == Outer(net=before, inner=Inner(gate=Plain())).digest()


def test_the_digest_is_sha256_of_canonical_json() -> None:
    assert Soft(heat=2.0).digest() == hashlib.sha256(b'{"heat":2.0,"type":"soft"}').hexdigest()


def test_every_problem_keeps_its_path() -> None:
    reported = problems(widht=3, rate="fast", gate={"type": "soft", "heat": -1, "cold": 1}, gates=["plain", "hard"])
    assert set(reported) == {("widht",), ("rate",), ("gate", "heat"), ("gate", "cold"), ("gates", 1)}
    assert reported["widht",] == "test_net 'block' has no field 'widht'; did you mean 'width'?"
    assert reported["rate",] == "expected a number, not 'fast'"
    assert reported["gates", 1] == "there is no test_gate 'hard'"


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"width": True}, ("width",), "expected a number, not True"),
        ({"width": 2.5}, ("width",), "expected a whole number, not 2.5"),
        ({"width": "wide"}, ("width",), "expected a whole number, not 'wide'"),
        ({"rate": float("nan")}, ("rate",), "expected a finite number, not nan"),
        ({"bias": "perhaps"}, ("bias",), "expected true or false, not 'perhaps'"),
        ({"mode": "dep"}, ("mode",), "expected 'flat' or 'deep', not 'dep'; did you mean 'deep'?"),
        ({"gates": "plain"}, ("gates",), "expected a list, not 'plain'"),
        ({"gate": ["plain"]}, ("gate",), "expected the name of a test_gate or a mapping with 'type', not ['plain']"),
        ({"gate": {"type": "sotf"}}, ("gate", "type"), "there is no test_gate 'sotf'"),
        ({"gate": None}, ("gate",), "expected the name of a test_gate or a mapping with 'type', not None"),
        ({"gates": [None]}, ("gates", 0), "expected the name of a test_gate or a mapping with 'type', not None"),
        ({"gates": {"heat": 1}}, ("gates",), "expected a list, not {'heat': 1}"),
        ({"spare": {"tpye": "plain"}}, ("spare", "tpye"), "which test_gate? Give its name as 'type', not as 'tpye'"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(spec: dict[str, object], path: tuple[str, ...], message: str) -> None:
    assert problems(**spec) == {path: message}


def test_a_long_value_is_cut() -> None:
    assert len(problems(width=["x" * 1000])["width",]) < 150


def test_nested_configs_are_filled_too() -> None:
    outer = fill(Outer, {"inner": {"size": 2}}, Known(), ("study",))
    assert outer.inner == Inner(size=2, gate=Plain())
    assert outer.net == make()
    assert [path for path, _ in outer.parts()] == [
        ("net",),
        ("net", "gate"),
        ("inner", "gate"),
        ("second", "gate"),
    ]
    with pytest.raises(SpecError) as caught:
        fill(Outer, {"inner": {"size": 0, "gate": "none"}, "second": 3, "third": 1}, Known(), ("study",))
    assert [str(p) for p in caught.value.problems] == [
        "study.inner.size: input should be greater than or equal to 1, not 0",
        "study.inner.gate: there is no test_gate 'none'",
        "study.second: expected a mapping, not 3",
        "study.third: outer has no field 'third'; there is: inner, net, second",
    ]
    with pytest.raises(SpecError, match="inner: outer needs 'inner'"):
        fill(Outer, {}, Known())
