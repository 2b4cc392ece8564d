"""Checks of a component of any kind."""

from __future__ import annotations

import inspect
import json
import re
from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from ablate.candidates.candidate import CAPTURED, SHARDED
from ablate.discovery.catalog import Catalog
from ablate.errors import SpecError
from ablate.spec.component import Added, InputSpec
from ablate.testing.case import OURS, Case, Check, NotApplicable, search_values
from ablate.testing.elsewhere import digest_elsewhere, needs_torch

NOBODY = "no_such_field_at_all"
SETTINGS = [InputSpec((1, 8, 8), 10), InputSpec((3, 32, 32), None), InputSpec((4, 7, 5), 1000)]


def makes_from_defaults(case: Case) -> None:
    """It can be made from its name alone; its slots are filled by their own or their kind's defaults."""
    component = case.component
    assert type(component) is case.entry.cls


def is_named(case: Case) -> None:
    """Its name is one word of letters, digits and '_', as study files and tables write it."""
    assert re.fullmatch(r"[A-Za-z0-9_]+", case.entry.name), f"{case.entry.name!r} is no word"


def says_what_it_is(case: Case) -> None:
    """The class has a docstring of its own: it is what `ablate plugins show` tells."""
    docstring = vars(case.entry.cls).get("__doc__")
    assert docstring and inspect.cleandoc(docstring), f"class {case.entry.cls.__name__} has no docstring"


def round_trips_as_json(case: Case) -> None:
    """`create` gives the component back from its spec written as JSON: equal, and with the same digest."""
    spec = case.component.spec()
    again = case.catalog.create(case.kind, json.loads(json.dumps(spec, allow_nan=False)))
    assert again == case.component, f"its spec {spec} gives another component: {again!r}"
    assert again.digest() == case.component.digest(), (
        "an equal component has another digest: is a float's default written as a whole number? Say 1.0, not 1"
    )
    assert hash(again) == hash(case.component), "an equal component has another hash"


def has_one_identity(case: Case) -> None:
    """Its digest is the same in another process: it depends on no address, order or random number."""
    here, elsewhere = case.component.digest(), digest_elsewhere(case)
    assert here == elsewhere, f"digest {here[:12]} here, {elsewhere[:12]} in another process"


def is_frozen(case: Case) -> None:
    """No field can be set: a config that was hashed stays what it was."""
    for field in case.entry.cls.model_fields:
        try:
            setattr(case.component, field, getattr(case.component, field))
        except (ValidationError, AttributeError):
            continue
        raise AssertionError(f"field {field!r} can be set: keep `frozen=True` in model_config")


def refuses_unknown_fields(case: Case) -> None:
    """A misspelt field is told with its path; nothing is silently ignored."""
    try:
        case.make(**{NOBODY: 1})
    except SpecError as error:
        paths = [problem.path for problem in error.problems]
        assert (NOBODY,) in paths, f"the problem is told at {paths}, not at {NOBODY!r}"
        return
    raise AssertionError("a field that does not exist is accepted: keep `extra='forbid'` in model_config")


def searches_what_is_valid(case: Case) -> None:
    """Every value of a field's default search range is a valid value of that field."""
    for field, info in case.entry.cls.model_fields.items():
        if not search_values(info):
            continue
        validator: TypeAdapter[Any] = TypeAdapter(Annotated[(info.annotation, *info.metadata)])  # type: ignore[arg-type]
        for value in search_values(info):
            try:
                validator.validate_python(value)
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise AssertionError(f"field {field!r} is searched at {value}, which is refused: {reason}") from None


def keeps_its_identity_where_a_field_is_added(case: Case) -> None:
    """A field that came later (`Added`) is left out of the identity where it is as before, which is valid."""
    for field, info in case.entry.cls.model_fields.items():
        for before in [meta.before for meta in info.metadata if isinstance(meta, Added)]:
            try:
                part = case.make(**{field: before})
            except SpecError as error:
                raise AssertionError(
                    f"field {field!r} was added, before it was {before!r}, which is refused: {error}"
                ) from None
            assert field not in part.active(), (
                f"{field}={before!r} is no {part.active()[field]!r}: say it as JSON has it"
            )


def tells_what_it_needs(case: Case) -> None:
    """Capabilities are words with a reason, excluded ones are spelt as they are provided; a refusal is a sentence."""
    for part in case.variants():
        assert isinstance(part.provides(), frozenset), "provides() gives no frozenset"
        assert all(_text(word) for word in part.provides()), f"provides() gives {part.provides()}"
        for method, needed in (("requires", part.requires()), ("excludes", part.excludes())):
            for word, why in needed.items():
                assert _text(word) and _text(why), f"{method}() gives no reason for {word!r}"
        for setting in SETTINGS:
            refusal = part.refuse(setting)
            assert refusal is None or _text(refusal), f"refuse({setting}) gives {refusal!r}: a sentence, or None"
    excluded = {word for part in case.variants() for word in part.excludes()}
    provided = sorted({CAPTURED, SHARDED, *_capabilities(case.catalog)}) if excluded else []
    for word in excluded.difference(provided):
        near = get_close_matches(word, provided, n=1, cutoff=0.8)  # a word of a plugin that is not here is near none
        assert not near, f"excludes() names {word!r}, which nothing provides; did you mean {near[0]!r}?"


def imports_without_torch(case: Case) -> None:
    """Importing its module does not import torch, so that mistakes in a study are told at once."""
    if case.entry.distribution != OURS:
        raise NotApplicable("asked of ablate's own components; advice for others: import torch inside `build`")
    reason = needs_torch(case)
    assert reason is None, reason


def _capabilities(catalog: Catalog) -> set[str]:
    """Collect what the components of ablate provide, each with its defaults and with each of its switches turned."""
    words: set[str] = set()
    for entry in catalog.entries():
        if entry.distribution == OURS and entry.kind != "data":  # data would be read
            with suppress(NotApplicable):  # it has no complete defaults
                words.update(*(part.provides() for part in Case(entry, catalog).variants()))
    return words


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


CHECKS: tuple[Check, ...] = (
    makes_from_defaults,
    is_named,
    says_what_it_is,
    round_trips_as_json,
    has_one_identity,
    is_frozen,
    refuses_unknown_fields,
    searches_what_is_valid,
    keeps_its_identity_where_a_field_is_added,
    tells_what_it_needs,
    imports_without_torch,
)
