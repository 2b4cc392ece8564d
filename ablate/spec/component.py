"""A component is a typed, frozen config that builds one operator; a slot holds another component.

Its fields are validated, hashed, printed, searched over and documented from one declaration.
A *kind* is an abstract subclass that declares `kind`; a *component* is a concrete subclass of a
kind that declares `name`.
"""

from __future__ import annotations

import inspect
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from ablate.errors import InputError, Path
from ablate.io.files import digest
from ablate.spec.inputs import Course as Course
from ablate.spec.inputs import InputSpec as InputSpec
from ablate.spec.renamed import first_name, under_current_names

Spec = str | Mapping[str, Any]
M = TypeVar("M", bound="Config")
K = TypeVar("K", bound="Component")
T = TypeVar("T")


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
    Where the sibling is a slot, what decides is a class attribute of the component in it: `of`, its name by default.
    """

    field: str
    values: tuple[Any, ...]
    of: str = "name"

    def allows(self, value: Any) -> bool:
        """Return whether the sibling's value, a component or the class of one where it is a slot, is one of these."""
        is_held = isinstance(value, Component) or (isinstance(value, type) and issubclass(value, Component))
        return (getattr(value, self.of, None) if is_held else value) in self.values


@dataclass(frozen=True)
class Extent:
    """The field says how much is done (seeds, trials, workers), not what is measured.

    It is left out of the identity, so that a study can be extended where it stands.
    """


@dataclass(frozen=True)
class Added:
    """The field came in a later version; with the value `before`, everything is as it was without the field.

    With that value it is left out of the identity: studies that do not use the new option keep their hashes, and go on.
    before: as JSON has it; of a slot, the spec that decides, such as `{"type": "none"}`. The field's default may be
    another value, or become one.
    """

    before: Any


class Opened:
    """The slot was a closed list of words; what a study said by one of them keeps its identity.

    A component of which nothing but its name decides is hashed as the bare word, as it was when the field held the
    word; a component with fields that decide is hashed as in any slot. words: {word: name}, for words that are not
    the names of today's components; they go on working in study files: `Opened(full="softmax")`.
    """

    def __init__(self, **words: str) -> None:
        self.words = words

    def identity(self, active: Any) -> Any:
        """Return what stands for a component in the identity of the config that holds it, given its active spec."""
        if not isinstance(active, Mapping) or set(active) != {"type"}:
            return active
        return next((word for word, name in self.words.items() if name == active["type"]), active["type"])


def slot(default: str | None = None) -> Any:
    """Declare a field that holds a component; its default is the name of one (or None: the kind's own)."""
    return Field() if default is None else Field(default=default)


# --- what surrounds a component ------------------------------------------------------------------


@runtime_checkable
class Resolver(Protocol):
    """Finds the component class of a kind by name; the catalog is one."""

    def get(self, kind: str, name: str) -> type[Component]:
        """Raise SpecError, with the nearest names, where there is none or more than one."""
        ...

    def names(self, kind: str) -> list[str]:
        """Return all names of a kind."""
        ...

    def default(self, kind: str) -> str | None:
        """Return the name that fills a slot of this kind where nothing is said, if one is declared."""
        ...


class Filler(ABC):
    """The context of a validation in which slots may hold names and mappings (`ablate.spec.slots`)."""

    @abstractmethod
    def component(self, kind: type[K], spec: Any) -> K:
        """Return the component of a kind that a spec describes. Raises ValidationError with all that is wrong."""

    @abstractmethod
    def config(self, cls: type[M], value: Any, validate: Callable[[Any], M]) -> M:
        """Return the config of what is given, a mapping. Raises ValidationError, in the words of a study's author."""


class Config(BaseModel):
    """A frozen tree of typed fields with an identity; equal configs hash equally."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    # Words that stand for a whole config of this class.
    shorthands: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _fill_slots(cls, value: Any, validate: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Validate with slots filled where the context is a `Filler`; as pydantic does where it is not.

        Fields that are given by a former name (`Formerly`) are taken under that of today.
        """
        if isinstance(value, cls):
            return validate(value)
        if isinstance(value, Mapping):
            value = under_current_names(cls._title(), cls.model_fields, value)
        if not isinstance(info.context, Filler):
            return validate(value)
        return info.context.config(cls, value, validate)

    @classmethod
    def _title(cls) -> str:
        """Return what a config is called in a message, such as `weighting 'p2'` or `budget`."""
        return cls.__name__.lower()

    def spec(self) -> dict[str, Any]:
        """Return the JSON form, all fields written out; `create` gives the config back."""
        return {field: _plain(getattr(self, field)) for field in type(self).model_fields}

    def active(self) -> dict[str, Any]:
        """Return the spec that decides: without what is not read (`When`), is extent, or was added and is as before.

        A field that was renamed stands under its first name (`Formerly`).
        """
        decides: dict[str, Any] = {}
        for field in _deciding(type(self)):
            if all(when.allows(getattr(self, when.field)) for when in field.whens):
                value = _plain(getattr(self, field.name), active=True)
                value = value if field.opened is None else field.opened.identity(value)
                if field.added is None or value != field.added.before:
                    decides[field.first_name] = value
        return decides

    def digest(self) -> str:
        """Return the SHA-256 of the active spec, in hexadecimal: the config's identity."""
        return digest(self.active())

    def parts(self, path: Path = ()) -> Iterator[tuple[Path, Component]]:
        """Yield every component in the tree, each with its path, from the outside in."""
        if isinstance(self, Component):
            yield path, self
        for field in type(self).model_fields:
            value = getattr(self, field)
            if isinstance(value, Config):
                yield from value.parts((*path, field))
            elif isinstance(value, tuple):
                for i, part in enumerate(value):
                    if isinstance(part, Config):
                        yield from part.parts((*path, field, i))


class Component(Config, ABC):
    """Base of every kind: a config that builds one operator."""

    kind: ClassVar[str]
    name: ClassVar[str]
    default: ClassVar[bool] = False  # fills a slot of its kind where nothing is said
    formerly: ClassVar[tuple[str, ...]] = ()  # names that it had before, the first one first; they go on to be read
    _root: FilePath | None = PrivateAttr(None)  # the folder of the study's file, from which its paths go out
    _qualified_name: str = PrivateAttr("")  # `distribution:name`, where another distribution brings the name too

    def located(self, path: str) -> FilePath:
        """Resolve a path in one of the fields: from the folder of the study's file, wherever ablate runs.

        A path of a study that is no file, but a mapping, goes out from the working directory. Raises InputError
        where only the working directory holds such a path: what is meant cannot be known.
        """
        file = FilePath(path).expanduser()
        if self._root is None or file.is_absolute():
            return file
        beside_study, in_working_directory = self._root / file, FilePath.cwd() / file
        if not beside_study.exists() and in_working_directory.exists():
            meant = FilePath(os.path.relpath(in_working_directory, self._root))
            reason = f"a path in a study goes out from its file, and in {self._root} there is none"
            raise InputError(f"{reason}; the one in the working directory is {meant.as_posix()!r} from there", path)
        return beside_study

    # How components that do not know each other find out whether they fit. A capability is a
    # word such as "null_class"; the text says why it is needed, for the refusal.
    def provides(self) -> frozenset[str]:
        """Return the capabilities that this component brings to the candidate."""
        return frozenset()

    def requires(self) -> Mapping[str, str]:
        """Return the capabilities that some other component, or the data, has to bring: {capability: why}."""
        return {}

    def excludes(self) -> Mapping[str, str]:
        """Return the capabilities beside which this component cannot work: {capability: why, what to do}."""
        return {}

    def refuse(self, setting: InputSpec) -> str | None:
        """Return one sentence, why this component cannot work on such data and what to do; None if it can."""
        return None

    def idle(self, course: Course) -> Iterable[str]:
        """Return a sentence for each field of this component that has no effect in such a training.

        They are told as warnings, after the component's name. What leaves no sensible result is refused elsewhere.
        """
        return ()

    def same_until(self, images: int) -> float:
        """Return until how many images it does the same in a training of `images` in all and in any longer one.

        Infinite where it is not told how long the training is. What is told (a learning rate that falls to its end,
        snapshots at shares of it) says so here: a training of a larger budget goes on from a checkpoint of a shorter
        one no later than this, and must come to the same numbers as one that begins with nothing.
        """
        return math.inf

    def unread_fields(self) -> Mapping[str, str]:
        """Return the fields that nothing reads as the others are: {field: why, such as "attention 'ssm' has no heads"}.

        Where a study gives such a field, and no candidate reads it, that is told as a warning. A field that one
        sibling decides about says so itself (`When`); then it is no part of the identity either.
        """
        return {}

    @classmethod
    def instead(cls, name: str, resolver: Resolver) -> str | None:
        """Return what else a name means that no component of this kind has, and how to say it; None if nothing."""
        return None

    @classmethod
    def conformance_checks(cls) -> Sequence[Callable[[Any], None]]:
        """Return checks of one's own, beside those of all kinds and of this one: functions of a `testing.Case`.

        For a kind that a plugin brings, on its abstract base; also for what one component promises. A check raises
        AssertionError with what is wrong. Import the module that holds them here, inside.
        """
        return ()

    @classmethod
    def _title(cls) -> str:
        """Return what a component is called in a message, such as `weighting 'p2'`."""
        return f"{cls.kind} {cls.name!r}" if "name" in vars(cls) else super()._title()

    @classmethod
    def _first_name(cls) -> str:
        """Return the first name that the component had: its identity's, which renaming does not change."""
        names: tuple[str, ...] = (*vars(cls).get("formerly", ()), cls.name)
        return names[0]

    def spec(self) -> dict[str, Any]:
        """Return the JSON form, `{"type": name, field: value, ...}`; `create` gives the component back."""
        return {"type": self._qualified_name or self.name, **super().spec()}

    def active(self) -> dict[str, Any]:
        """Return the component's name, the first that it had, and the fields that decide (`Config.active`)."""
        # What a kind's own package brings keeps its identity, whatever else is installed later.
        home = next(base for base in type(self).__mro__ if is_kind(base)).__module__.partition(".")[0]
        distribution, separator, _ = self._qualified_name.rpartition(":")
        name = self._first_name() if distribution == home else f"{distribution}{separator}{self._first_name()}"
        return {"type": name, **super().active()}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if "kind" not in vars(cls):  # a component's own schema, not a slot for one
            return handler(source)

        def filled(value: Any, info: ValidationInfo) -> Any:
            return info.context.component(cls, value) if isinstance(info.context, Filler) else value

        return core_schema.with_info_before_validator_function(
            filled,
            core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.spec()),
        )


def is_kind(cls: type) -> bool:
    """Return whether the class is itself an extension point: it declares `kind` in its own body."""
    return isinstance(cls, type) and issubclass(cls, Component) and "kind" in vars(cls)


def is_component(cls: Any) -> bool:
    """Return whether the class is a concrete component: it declares `name` in its own body."""
    return (
        isinstance(cls, type)
        and issubclass(cls, Component)
        and isinstance(vars(cls).get("name"), str)
        and not inspect.isabstract(cls)
        and not is_kind(cls)
    )


def is_active(config: BaseModel, info: FieldInfo) -> bool:
    """Return whether a field takes part in the config's identity, given its siblings' values."""
    whens = _metadata(info, When)
    return not _metadata(info, Extent) and all(when.allows(getattr(config, when.field)) for when in whens)


class _Deciding(NamedTuple):
    """What says when and how a field takes part in the identity."""

    name: str
    first_name: str
    whens: list[When]
    opened: Opened | None
    added: Added | None


@cache
def _deciding(cls: type[Config]) -> tuple[_Deciding, ...]:
    """Return the fields of a class that may decide: thousands of candidates of a study are of the same classes."""
    return tuple(
        _Deciding(
            name,
            first_name(name, info),
            _metadata(info, When),
            next(iter(_metadata(info, Opened)), None),
            next(iter(_metadata(info, Added)), None),
        )
        for name, info in cls.model_fields.items()
        if not _metadata(info, Extent)
    )


def _metadata(info: FieldInfo, kind: type[T]) -> list[T]:
    return [meta for meta in info.metadata if isinstance(meta, kind)]


def _plain(value: Any, active: bool = False) -> Any:
    if isinstance(value, Config):
        return value.active() if active else value.spec()
    if isinstance(value, list | tuple):
        return [_plain(item, active) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item, active) for key, item in value.items()}
    return value
