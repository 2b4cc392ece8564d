"""Checks of a component's declaration when its module is loaded, with a message of one sentence."""

from __future__ import annotations

import contextlib
import inspect
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from ablate.spec.component import Component, Config, is_kind
from ablate.spec.explain import exception_summary
from ablate.spec.renamed import former_names
from ablate.spec.signatures import mismatch
from ablate.spec.slots import slot_kind

DECLARED = ("name", "kind", "default", "formerly")  # of the class, not of one config of it
HASHABLE: Mapping[type, str] = {list: "tuple", set: "tuple", dict: "tuple of pairs"}


@contextlib.contextmanager
def judging_fields() -> Iterator[None]:
    """Leave out pydantic's warning of a field that hides an attribute: `mistake` refuses each such field."""
    warnings.filterwarnings("ignore", message='Field name ".*" in ".*" shadows an attribute in parent')
    ours = warnings.filters[0]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a plugin may have emptied the list
            warnings.filters.remove(ours)  # type: ignore[attr-defined]  # a list, which typeshed calls a sequence


def class_and_place(cls: type) -> str:
    """Format a class with the place of its source: `class Gate (gates.py:12)`."""
    try:
        place = f" ({inspect.getfile(cls)}:{inspect.getsourcelines(cls)[1]})"
    except (OSError, TypeError):
        place = ""
    return f"class {cls.__name__}{place}"


def mistake(cls: type[Component]) -> str | None:
    """Return what is wrong with a class, and what to do; None for a component, "" for a class that means to be none."""
    if "name" in cls.model_fields and not is_kind(cls):
        return _annotated("name", cls.model_fields["name"].default)
    if "name" not in vars(cls):
        return ""
    if is_kind(cls):
        return "it declares a kind and a name: leave `kind` out, it has that of the class above it"
    name = vars(cls)["name"]
    if not _is_name(name):
        return f"its name is {name!r}: give it one word of letters, digits and '_'"
    former = vars(cls).get("formerly", ())
    if not isinstance(former, tuple) or not all(map(_is_name, former)) or len({*former, name}) <= len(former):
        return f"formerly is {former!r}: give the names that it had before, each once, such as ('old_name',)"
    if not isinstance(getattr(cls, "kind", None), str):
        return "it is of no kind: make it a subclass of one of `ablate.api`, such as Fusion"
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"it declares a name, but lacks what its kind asks for: {', '.join(missing)}"
    return _field_mistake(cls) or mismatch(cls)


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name.strip()) and not set(name) & set(":/\n")


def _annotated(word: str, default: Any) -> str:
    return f"`{word}` with an annotation is a field; write `{word} = {default!r}` without one"


def _field_mistake(cls: type[Component]) -> str | None:
    base: type[Component] = next(one for one in cls.__mro__ if is_kind(one))
    former = [old for info in cls.model_fields.values() for old in former_names(info)]
    if twice := next((old for old in former if old in cls.model_fields or former.count(old) > 1), None):
        return f"{twice!r} is the former name of a field, and of another field too: give it to one alone"
    for field, info in cls.model_fields.items():
        if field in DECLARED:
            return _annotated(field, info.default)
        if field == "type":
            return "a field cannot be called 'type', which names the component in a study; call it otherwise"
        if hasattr(base, field) and field not in base.model_fields:
            return (
                f"a field cannot be called {field!r}: every {base.kind} has something of that name; call it otherwise"
            )
        if slot_kind(info) is not None:
            continue
        origin = get_origin(info.annotation) or info.annotation
        if isinstance(origin, type) and (better := HASHABLE.get(origin)):
            return f"field {field!r} is a {origin.__name__}, which may change and has no hash: make it a {better}"
        if (reason := _default_mistake(field, info)) is not None:
            return reason
    return None


def _default_mistake(field: str, info: Any) -> str | None:
    if info.is_required():
        return None
    try:
        value = info.get_default(call_default_factory=True)
    except Exception as error:  # noqa: BLE001 - a plugin's own code
        return f"the default of field {field!r} cannot be made: {exception_summary(error)}"
    if any(isinstance(one, Config) for one in (value if isinstance(value, tuple) else (value,))):
        return None
    kind = type(value)
    try:
        hash(value)
    except TypeError:
        better = HASHABLE.get(kind, "tuple")
        return (
            f"the default of field {field!r} is a {kind.__name__}, which may change and has no hash: make it a {better}"
        )
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return (
            f"the default of field {field!r}, {value!r:.60}, is no JSON, in which a config is written: "
            "take a finite number, a word, true or false, None, or a tuple of these"
        )
    return None
