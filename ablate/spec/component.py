"""A component is a typed, frozen config that builds one operator; a slot holds another component.

Its fields are validated, hashed, printed, searched over and documented from one declaration.
A *kind* is an abstract subclass that declares `kind`; a *component* is a concrete subclass of a
kind that declares `name`.
"""

from __future__ import annotations

import inspect
import os
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_origin, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from ablate.errors import InputError, Path, Problem, SpecError
from ablate.io.hashing import digest
from ablate.spec.explain import explain, short

Spec = str | Mapping[str, Any]
M = TypeVar("M", bound="Config")


LARGEST = 2**63 - 1  # of whole numbers
LONGEST = 10_000  # of words, in letters

# --- metadata of a field, in `Annotated[...]` ---------------------------------------------------


class Choice:
    """Default search range: one of these values, as in `Annotated[int, Choice(2, 4, 8)]`."""

    def __init__(self, *values: bool | int | float | str) -> None:
        self.values = values


@dataclass(frozen=True)
class Range:
    """Default search range: low <= value <= high; `log` spaces it evenly in the logarithm."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class When:
    """The field is read only while its sibling `field` has one of `values`.

    An inactive field is neither hashed nor searched: two configs that differ in it alone are one.
    """

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Extent:
    """The field says how much is done (seeds, trials, workers), not what is measured.

    It is left out of the identity, so that a study can be extended where it stands.
    """


def slot(default: str | None = None) -> Any:
    """A field that holds a component; its default is the name of one (or None: the kind's own)."""
    return Field() if default is None else Field(default=default)


# --- what surrounds a component ------------------------------------------------------------------


@dataclass(frozen=True)
class InputSpec:
    """What a candidate has to work with, known before anything is built."""

    shape: tuple[int, int, int]  # (C, H, W) of what the network sees
    classes: int | None  # None: the data carry no labels


@dataclass(frozen=True)
class Course:
    """What a candidate goes through, known before anything is trained."""

    setting: InputSpec
    batch: int  # images a step
    images: int | None  # of the whole training; None: time decides
    samples: int  # that are drawn at its end


@runtime_checkable
class Resolver(Protocol):
    """Finds the component class of a kind by name; the catalog is one."""

    def get(self, kind: str, name: str) -> type[Component]:
        """Raise SpecError, with the nearest names, where there is none or more than one."""
        ...

    def names(self, kind: str) -> list[str]:
        """All names of a kind."""
        ...

    def default(self, kind: str) -> str | None:
        """The name that fills a slot of this kind where nothing is said, if one is declared."""
        ...


class Config(BaseModel):
    """A frozen tree of typed fields with an identity; equal configs hash equally."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def spec(self) -> dict[str, Any]:
        """The JSON form, all fields written out; `create` gives the config back."""
        return {field: _plain(getattr(self, field)) for field in type(self).model_fields}

    def active(self) -> dict[str, Any]:
        """The spec without the fields that are not read (`When`) or do not decide (`Extent`)."""
        fields = type(self).model_fields.items()
        return {f: _plain(getattr(self, f), active=True) for f, info in fields if is_active(self, info)}

    def digest(self) -> str:
        """SHA-256 of the active spec, in hexadecimal: the config's identity."""
        return digest(self.active())

    def parts(self, path: Path = ()) -> Iterator[tuple[Path, Component]]:
        """Every component in the tree, each with its path, from the outside in."""
        if isinstance(self, Component):
            yield path, self
        for field in type(self).model_fields:
            held = getattr(self, field)
            if isinstance(held, Config):
                yield from held.parts((*path, field))
            elif isinstance(held, tuple):
                for i, part in enumerate(held):
                    if isinstance(part, Config):
                        yield from part.parts((*path, field, i))


class Component(Config, ABC):
    """Base of every kind: a config that builds one operator."""

    kind: ClassVar[str]
    name: ClassVar[str]
    default: ClassVar[bool] = False  # fills a slot of its kind where nothing is said
    _root: FilePath | None = PrivateAttr(None)  # the folder of the study's file, from which its paths go out
    _called: str = PrivateAttr("")  # `distribution:name`, where another distribution brings the name too

    def located(self, path: str) -> FilePath:
        """Where a path in one of the fields leads: from the folder of the study's file, wherever ablate runs.

        A path of a study that is no file, but a mapping, goes out from the working directory. Raises InputError
        where only the working directory holds such a path: what is meant cannot be known.
        """
        given = FilePath(path).expanduser()
        if self._root is None or given.is_absolute():
            return given
        found, here = self._root / given, FilePath.cwd() / given
        if not found.exists() and here.exists():
            said = FilePath(os.path.relpath(here, self._root))
            told = f"a path in a study goes out from its file, and in {self._root} there is none"
            raise InputError(f"{told}; the one in the working directory is {said.as_posix()!r} from there", path)
        return found

    # How components that do not know each other find out whether they fit. A capability is a
    # word such as "null_class"; the text says why it is needed, for the refusal.
    def provides(self) -> frozenset[str]:
        """Capabilities that this component brings to the candidate."""
        return frozenset()

    def requires(self) -> Mapping[str, str]:
        """Capabilities that some other component, or the data, has to bring: {capability: why}."""
        return {}

    def excludes(self) -> Mapping[str, str]:
        """Capabilities beside which this component cannot work: {capability: why, what to do}."""
        return {}

    def refuse(self, setting: InputSpec) -> str | None:
        """One sentence, why this component cannot work on such data and what to do; None if it can."""
        return None

    def idle(self, course: Course) -> Iterable[str]:
        """A sentence for each field of this component that is never reached, or cannot matter, in such a training.

        They are told as warnings, after the component's name. What leaves no sensible result is refused elsewhere.
        """
        return ()

    @classmethod
    def instead(cls, name: str, resolver: Resolver) -> str | None:
        """Where there is no component of this kind by that name: what else the word means, and how to say it."""
        return None

    def spec(self) -> dict[str, Any]:
        """The JSON form, `{"type": name, field: value, ...}`; `create` gives the component back."""
        return {"type": self._called or self.name, **super().spec()}

    def active(self) -> dict[str, Any]:
        """The spec without the fields that are not read (`When`) or do not decide (`Extent`)."""
        # What a kind's own package brings keeps its identity, whatever else is installed later.
        home = next(base for base in type(self).__mro__ if is_kind(base)).__module__.partition(".")[0]
        named = self.name if self._called.startswith(f"{home}:") else self._called or self.name
        return {"type": named, **super().active()}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if "kind" not in vars(cls):  # a component's own schema, not a slot for one
            return handler(source)
        # A slot takes instances. `create` turns names and mappings into instances beforehand, so
        # that every problem keeps its path.
        return core_schema.is_instance_schema(
            cls,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.spec()),
        )


def is_kind(cls: type) -> bool:
    """Whether the class is itself an extension point: it declares `kind` in its own body."""
    return isinstance(cls, type) and issubclass(cls, Component) and "kind" in vars(cls)


def is_component(cls: Any) -> bool:
    """Whether the class is a concrete component: it declares `name` in its own body."""
    return (
        isinstance(cls, type)
        and issubclass(cls, Component)
        and isinstance(vars(cls).get("name"), str)
        and not inspect.isabstract(cls)
        and not is_kind(cls)
    )


def slot_kind(info: FieldInfo) -> type[Component] | None:
    """The kind that a field has a slot for (also `Kind | None`, `tuple[Kind, ...]`), else None."""
    for candidate in (info.annotation, *get_args(info.annotation)):
        if isinstance(candidate, type) and is_kind(candidate):
            return candidate
    return None


def default_name(info: FieldInfo, resolver: Resolver) -> str | None:
    """The name of the component that fills a slot where nothing is said: the field's own, or its kind's."""
    kind = slot_kind(info)
    if kind is None or isinstance(info.default, str):
        return info.default if kind else None
    return resolver.default(kind.kind) if info.is_required() else None


def nested_config(info: FieldInfo) -> type[Config] | None:
    """The plain config (no component) that a field holds, as in `budget: Budget`, else None."""
    for candidate in (info.annotation, *get_args(info.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Config) and not issubclass(candidate, Component):
            return candidate
    return None


def is_active(config: BaseModel, info: FieldInfo) -> bool:
    """Whether a field takes part in the config's identity, given its siblings' values."""
    for meta in info.metadata:
        if isinstance(meta, Extent):
            return False
        if isinstance(meta, When) and getattr(config, meta.field) not in meta.values:
            return False
    return True


def create(kind: type[Component], spec: Any, resolver: Resolver, path: Path = ()) -> Component:
    """The component of `kind` that `spec` describes: a name, `{"type": name, ...}` or an instance.

    Slots are filled from the inside out. Raises SpecError with every problem that was found, each
    with its path, not with the first alone.
    """
    if isinstance(spec, kind):
        return spec
    at = path if isinstance(spec, str) else (*path, "type")
    if isinstance(spec, str):
        spec = {"type": spec}
    if not isinstance(spec, Mapping):
        raise SpecError(
            [Problem(path, f"expected the name of a {kind.kind} or a mapping with 'type', not {short(spec)}")]
        )
    named = spec.get("type", resolver.default(kind.kind))
    if not isinstance(named, str):
        near = get_close_matches("type", map(str, spec), n=1)
        at = (*path, near[0]) if near else path
        hint = f", not as {near[0]!r}" if near and near[0] != "type" else ""
        raise SpecError([Problem(at, f"which {kind.kind}? Give its name as 'type'{hint}")])
    try:
        cls = resolver.get(kind.kind, named)
    except SpecError as error:
        raise SpecError([Problem(at, p.message) for p in error.problems]) from None
    values = {key: value for key, value in spec.items() if key != "type"}
    made = fill(cls, values, resolver, path)
    assert isinstance(made, Component)
    made._root = getattr(resolver, "root", None)
    if ":" in named and cls.name not in resolver.names(kind.kind):  # the bare name would find nobody
        made._called = named
    return made


def fill(cls: type[M], values: Mapping[str, Any], resolver: Resolver, path: Path = ()) -> M:
    """An instance of a model, its slots filled first. Raises SpecError with all problems."""
    problems: list[Problem] = []
    filled = dict(values)
    for field, info in cls.model_fields.items():
        try:
            filled.update(_fill_field(field, info, filled, resolver, (*path, field)))
        except SpecError as error:
            problems.extend(error.problems)
            filled[field] = None
    broken = {problem.path[: len(path) + 1] for problem in problems}
    try:
        made = cls.model_validate(filled)
    except ValidationError as error:
        for one in error.errors():
            at = (*path, *one["loc"])
            if at[: len(path) + 1] not in broken and (one["loc"] or not broken):  # a whole is judged if its parts are
                problems.append(Problem(at, explain(one, cls, _called(cls), _known(cls))))
    if problems:
        raise SpecError(problems)
    return made


def _fill_field(
    field: str, info: FieldInfo, values: Mapping[str, Any], resolver: Resolver, path: Path
) -> dict[str, Any]:
    """The field with what it holds made into configs; empty where there is nothing to make."""
    kind, nested = slot_kind(info), nested_config(info)
    given = values.get(field)
    if kind is None and nested is None:
        if isinstance(given, bool) and {int, float} & {info.annotation, *get_args(info.annotation)}:
            raise SpecError([Problem(path, f"expected a number, not {given!r}")])  # pydantic takes True for 1
        if problems := list(_too_large(given, path)):
            raise SpecError(problems)
        return {}
    if kind is None:
        if nested is None or given is None or isinstance(given, nested):
            return {}
        if not isinstance(given, Mapping):
            raise SpecError([Problem(path, f"expected a mapping, not {short(given)}")])
        return {field: fill(nested, given, resolver, path)}
    named = default_name(info, resolver)
    if field not in values:
        given = named if named is not None or info.is_required() else info.get_default(call_default_factory=True)
    if given is None:
        return {}  # nothing was said: pydantic reports it where it is needed
    if get_origin(info.annotation) is tuple:
        if not isinstance(given, list | tuple):
            raise SpecError([Problem(path, f"expected a list, not {short(given)}")])
        return {field: tuple(create(kind, one, resolver, (*path, i)) for i, one in enumerate(given))}
    if isinstance(given, Mapping) and "type" not in given and named is not None:
        given = {"type": named, **given}
    return {field: create(kind, given, resolver, path)}


def _too_large(given: Any, path: Path) -> Iterator[Problem]:
    """What no field holds, whether its author thought of a bound or not: tensors and tables count in 64 bits."""
    if isinstance(given, int) and not -LARGEST <= given <= LARGEST:
        yield Problem(path, f"{short(given)} is too large: a whole number has at most 64 bits here")
    elif isinstance(given, str) and len(given) > LONGEST:
        yield Problem(path, f"holds {len(given):,} letters, of at most {LONGEST:,}: {short(given)}")
    elif isinstance(given, Mapping):
        for key, held in given.items():
            yield from _too_large(held, (*path, key))
    elif isinstance(given, list | tuple):
        for i, held in enumerate(given):
            yield from _too_large(held, (*path, i))


def _called(cls: type[Config]) -> str:
    return f"{cls.kind} {cls.name!r}" if issubclass(cls, Component) else cls.__name__.lower()


def _known(cls: type[Config]) -> list[str]:
    return [*cls.model_fields, *(["type"] if issubclass(cls, Component) else [])]


def _plain(value: Any, active: bool = False) -> Any:
    if isinstance(value, Config):
        return value.active() if active else value.spec()
    if isinstance(value, list | tuple):
        return [_plain(item, active) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item, active) for key, item in value.items()}
    return value
