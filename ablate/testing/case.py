"""A test case: one component of a catalog, with what a check needs around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ablate.discovery.catalog import Catalog, Entry
from ablate.errors import InputError, SpecError
from ablate.kinds.fitted import Fitted
from ablate.spec.component import Choice, Component, Config, InputSpec, Range, When
from ablate.spec.fields import allowed

SEED = 0x5EED_AB1A7E  # that no component gives by itself: one of its own is noticed
SETTING = InputSpec((3, 32, 32), 10)  # of the data in checks of what is no network
OURS = __name__.partition(".")[0]  # the distribution whose components are partners in a check


class NotApplicable(Exception):  # noqa: N818 - no error: there is nothing to check, and the text says why
    """Raised by a check that cannot be done, such as of data that are not installed."""


@dataclass
class Case:
    """A component under test.

    spec: values for fields that have no default (a folder's path); the other fields keep theirs.
    """

    entry: Entry
    catalog: Catalog
    spec: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """The component's kind."""
        return self.entry.kind

    @property
    def given(self) -> dict[str, Any]:
        """The spec that makes the component, with its unambiguous name."""
        return {**(self.spec or {}), "type": self.entry.full_name}

    @cached_property
    def component(self) -> Component:
        """The component, with its defaults and what the case's spec says."""
        required = self.lacks()
        if required and self.spec is None:
            raise NotApplicable(f"no default for {', '.join(required)}: give the check an example as its spec")
        try:
            return self.catalog.create(self.kind, self.given)
        except SpecError as error:
            raise AssertionError(f"cannot be made from {self.given}: {error}") from None

    def lacks(self) -> list[str]:
        """Return the fields that have no default."""
        return [field for field in self.entry.cls.model_fields if self._needs(field)]

    def make(self, **changes: Any) -> Component:
        """Return the component with other values; raises SpecError where they are refused."""
        return self.catalog.create(self.kind, {**self.given, **changes})

    def variants(self, numbers: bool = False) -> Iterator[Component]:
        """Yield the component, and with each of its switches turned: every bool and every Literal, one at a time.

        numbers: also the ends of each search range. What the component itself refuses is left out.
        """
        seen = {self.component.digest()}
        yield self.component
        for field, info in self.entry.cls.model_fields.items():
            for value in _values(info, numbers):
                try:
                    variant = self.make(**{field: value, **read_under(info, self.entry.cls, self.catalog)})
                except SpecError:
                    continue
                if variant.digest() not in seen:
                    seen.add(variant.digest())
                    yield variant

    def partners(self, kind: str) -> list[Any]:
        """Return the components of another kind with which this one is tried, each with its defaults, for `SETTING`.

        Those of ablate and of the case's own distribution: a stranger's mistakes are not this one's.
        """
        partners = []
        for entry in self.catalog.entries(kind):
            if entry.distribution in (OURS, self.entry.distribution):
                try:
                    partners.append(fitted(self.catalog.create(kind, {"type": entry.full_name})))
                except InputError:
                    continue  # it has no complete defaults
        return partners

    def _needs(self, field: str) -> bool:
        from ablate.spec.slots import default_name

        info = self.entry.cls.model_fields[field]
        return info.is_required() and default_name(info, self.catalog) is None


Check = Callable[[Case], None]


def fitted(part: Component) -> Any:
    """Return the component for the data of the checks, where it follows from them; else as it is."""
    return part.for_setting(SETTING) if isinstance(part, Fitted) else part


def clash(*parts: Config) -> bool:
    """Return whether one of the components excludes what another provides."""
    every = [part for whole in parts for _, part in whole.parts()]
    provided = frozenset[str]().union(*(part.provides() for part in every))
    return any(provided & part.excludes().keys() for part in every)


def read_under(info: FieldInfo, cls: type[Config], catalog: Catalog) -> dict[str, Any]:
    """Return values of the siblings under which a field of a class is read."""
    return {meta.field: allowed(meta, cls, catalog)[0] for meta in info.metadata if isinstance(meta, When)}


def search_values(info: FieldInfo) -> list[Any]:
    """Return the values of a field's default search range: all choices, or both ends."""
    values: list[Any] = []
    for meta in info.metadata:
        if isinstance(meta, Choice):
            values += meta.values
        elif isinstance(meta, Range):
            ends = (meta.low, meta.high)
            values += [int(end) for end in ends] if info.annotation is int else ends
    return values


def fitting(parts: Iterable[Any], *beside: Config) -> list[Any]:
    """Return those of the parts that do not clash with what stands beside them."""
    return [part for part in parts if not clash(part, *beside)]


def _values(info: FieldInfo, numbers: bool) -> list[Any]:
    values: list[Any] = []
    for annotation in (info.annotation, *get_args(info.annotation)):
        if annotation is bool:
            values += [False, True]
        elif get_origin(annotation) is Literal:
            values += get_args(annotation)
    return values + (search_values(info) if numbers else [])
