"""Filling of slots while pydantic validates a config: names and mappings become components.

The validation's context is a `SlotFiller`, which holds the resolver that finds components by name. What is wrong comes
all at once, each problem with its full path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from ablate.errors import Path, Problem, SpecError
from ablate.spec.component import Component, Config, Filler, K, M, Opened, Resolver, is_kind
from ablate.spec.explain import explain, short
from ablate.spec.renamed import Renaming, tell

LARGEST = 2**63 - 1  # of whole numbers
LONGEST = 10_000  # of words, in letters
REMEMBERED = 20_000  # components that a filler remembers, at the most
EXPLAINED = "explained"  # the type of pydantic's errors whose message is in the words of a study's author already


def slot_kind(info: FieldInfo) -> type[Component] | None:
    """Return the kind that a field has a slot for (also `Kind | None`, `tuple[Kind, ...]`), else None."""
    for candidate in (info.annotation, *get_args(info.annotation)):
        if isinstance(candidate, type) and is_kind(candidate):
            return candidate
    return None


def default_name(info: FieldInfo, resolver: Resolver) -> str | None:
    """Return the name of the component that fills a slot by default: the field's own default, or its kind's."""
    kind = slot_kind(info)
    if kind is None or isinstance(info.default, str):
        return info.default if kind else None
    return resolver.default(kind.kind) if info.is_required() else None


def named_today(info: FieldInfo, value: Any) -> Any:
    """Return a slot's value; a word that the field held before it was a slot (`Opened`) becomes the name of today."""
    words = {word: name for meta in info.metadata if isinstance(meta, Opened) for word, name in meta.words.items()}
    if isinstance(value, str):
        return words.get(value, value)
    if words and isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return {**value, "type": words.get(value["type"], value["type"])}
    return value


def nested_config(info: FieldInfo) -> type[Config] | None:
    """Return the plain config (no component) that a field holds, as in `budget: Budget`, else None."""
    for candidate in (info.annotation, *get_args(info.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Config) and not issubclass(candidate, Component):
            return candidate
    return None


def create(kind: type[K], spec: Any, resolver: Resolver, path: Path = ()) -> K:
    """Return the component of `kind` that `spec` describes: a name, `{"type": name, ...}` or an instance.

    Raises SpecError with every problem that was found, each with its path below `path`, not with the first alone.
    """
    try:
        return SlotFiller(resolver).component(kind, spec)
    except ValidationError as error:
        raise SpecError(_problems(error, kind, path)) from None


def fill(
    cls: type[M], values: Mapping[str, Any], resolver: Resolver, path: Path = (), filler: SlotFiller | None = None
) -> M:
    """Return a config with these values, its slots filled. Raises SpecError with all problems.

    filler: of the resolver, which may remember (`SlotFiller`).
    """
    try:
        return cls.model_validate(values, context=filler or SlotFiller(resolver))
    except ValidationError as error:
        raise SpecError(_problems(error, cls, path)) from None


class SlotFiller(Filler):
    """The context of a validation: it finds components by name, and says what is wrong in plain words.

    remember: one that was made of a spec is used again for an equal one; components are frozen, so many candidates
    share most of theirs. What was renamed is told for the first of equal ones alone.
    """

    def __init__(self, resolver: Resolver, remember: bool = False) -> None:
        self.resolver = resolver
        self._made: dict[tuple[type[Component], str], Any] | None = {} if remember else None

    def component(self, kind: type[K], spec: Any) -> K:
        """Return the component that a slot's value describes: a name, a mapping, or the component itself."""
        if isinstance(spec, kind):
            return spec
        if self._made is None or (key := key_of(spec)) is None:
            return self._component(kind, spec)
        made: K | None = self._made.get((kind, key))
        if made is None:
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            made = self._made[kind, key] = self._component(kind, spec)
        return made

    def _component(self, kind: type[K], spec: Any) -> K:
        at: Path = () if isinstance(spec, str) else ("type",)
        if isinstance(spec, str):
            spec = {"type": spec}
        if not isinstance(spec, Mapping):
            article = "an" if kind.kind[0] in "aeiou" else "a"
            message = f"expected the name of {article} {kind.kind} or a mapping with 'type', not {short(spec)}"
            raise _refusal([Problem((), message)])
        name = spec.get("type", self.resolver.default(kind.kind))
        if not isinstance(name, str):
            near = get_close_matches("type", map(str, spec), n=1)
            hint = f", not as {near[0]!r}" if near and near[0] != "type" else ""
            raise _refusal([Problem(tuple(near), f"which {kind.kind}? Give its name as 'type'{hint}")])
        try:
            cls = cast(type[K], self.resolver.get(kind.kind, name))
        except SpecError as error:
            raise _refusal(Problem(at, problem.message) for problem in error.problems) from None
        component = cls.model_validate({key: value for key, value in spec.items() if key != "type"}, context=self)
        component._root = getattr(self.resolver, "root", None)
        distribution, separator, bare = name.rpartition(":")
        if bare != cls.name:
            tell(Renaming(kind.kind, bare, cls.name))
        if separator and cls.name not in self.resolver.names(kind.kind):  # the bare name would find nobody
            component._qualified_name = f"{distribution}:{cls.name}"
        return component

    def config(self, cls: type[M], value: Any, validate: Callable[[Any], M]) -> M:
        """Return the validated config; slots about which nothing is said are filled by their defaults' names.

        Those do not count among the fields that were set (`model_fields_set`).
        """
        if not isinstance(value, Mapping):
            raise _refusal([Problem((), f"expected a mapping, not {short(value)}")])
        values, problems = dict(value), list[Problem]()
        for field, info, is_slot, is_nested in _fields(cls):
            if is_slot:
                self._name_default(field, info, values)
                if field in values:
                    values[field] = named_today(info, values[field])
            elif not is_nested and (wrong := list(_unfit_values(values.get(field), info, (field,)))):
                problems += wrong
                values[field] = None
        broken = {problem.path[0] for problem in problems}
        try:
            config = validate(values)
        except ValidationError as error:
            reported = _problems(error, cls)
            # what was taken out has been told; a whole is judged only if its parts are in order
            problems += [one for one in reported if (one.path[0] not in broken if one.path else not broken)]
        if problems:
            raise _refusal(problems)
        config.model_fields_set.difference_update(values.keys() - value.keys())
        return config

    def _name_default(self, field: str, info: FieldInfo, values: dict[str, Any]) -> None:
        """Put the name of a slot's default where the values name none."""
        name = default_name(info, self.resolver)
        value = values.get(field)
        if field not in values:
            default = name if name or info.is_required() else info.get_default(call_default_factory=True)
            if default is not None:  # else pydantic reports what is missing
                values[field] = default
        elif isinstance(value, Mapping) and "type" not in value and name and get_origin(info.annotation) is not tuple:
            values[field] = {"type": name, **value}


@lru_cache(maxsize=1024)
def _fields(cls: type[Config]) -> tuple[tuple[str, FieldInfo, bool, bool], ...]:
    """Return the fields of a config, each with whether it is a slot, and whether it holds a plain config."""
    return tuple(
        (field, info, slot_kind(info) is not None, nested_config(info) is not None)
        for field, info in cls.model_fields.items()
    )


def key_of(spec: Any) -> str | None:
    """Return what tells a spec from others, as JSON; None where it is none."""
    try:
        return json.dumps(spec, sort_keys=True)
    except (TypeError, ValueError):
        return None


def _unfit_values(value: Any, info: FieldInfo, path: Path) -> Iterator[Problem]:
    """Yield the problems that pydantic would let pass: True for a number 1, and values that no field holds."""
    if isinstance(value, bool) and {int, float} & {info.annotation, *get_args(info.annotation)}:
        yield Problem(path, f"expected a number, not {value!r}")
    else:
        yield from _too_large(value, path)


def _too_large(value: Any, path: Path) -> Iterator[Problem]:
    """Yield the values that no field holds, whatever bounds it has: tensors and tables count in 64 bits."""
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        yield Problem(path, f"{short(value)} is too large: a whole number has at most 64 bits here")
    elif isinstance(value, str) and len(value) > LONGEST:
        yield Problem(path, f"holds {len(value):,} letters, of at most {LONGEST:,}: {short(value)}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _too_large(item, (*path, key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _too_large(item, (*path, i))


def _problems(error: ValidationError, cls: type[Config], path: Path = ()) -> Iterator[Problem]:
    """Yield pydantic's errors about a config of a class, in plain words; what is explained already stays as it is."""
    name = cls._title()
    fields = [*cls.model_fields, *(["type"] if issubclass(cls, Component) else [])]
    for one in error.errors(include_url=False):
        message = one["ctx"]["message"] if one["type"] == EXPLAINED else explain(one, cls, name, fields)
        yield Problem((*path, *one["loc"]), message)


def _refusal(problems: Iterable[Problem]) -> ValidationError:
    """Make of the problems an error that pydantic takes over into that of the whole, each below its path."""
    return ValidationError.from_exception_data(
        "spec",
        [
            InitErrorDetails(
                type=PydanticCustomError(EXPLAINED, "{message}", {"message": problem.message}),
                loc=problem.path,
                input=None,
            )
            for problem in problems
        ],
    )
