"""Former names of components and fields: what is called otherwise now, told once.

A component says `formerly = ("old_name",)`, a field `Annotated[..., Formerly("old_name")]`. Studies, folders and Python
that say the old name go on; the identity keeps the first name that a thing had, so that renaming changes no hash.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo


class Formerly:
    """The names that a field had before, the first one first: `Annotated[float, Formerly("gamma")]`.

    A name that was given up is not given to another field.
    """

    def __init__(self, *names: str) -> None:
        self.names = names


@dataclass(frozen=True)
class Renaming:
    """A name that somebody has used, and what it is called now."""

    owner: str  # the kind of a component, or the component that has the field
    old: str
    new: str
    is_field: bool = False

    def __str__(self) -> str:
        """Say what to write instead."""
        what = f"field {self.old!r} of {self.owner}" if self.is_field else f"{self.owner} {self.old!r}"
        return f"{what} is called {self.new!r} now: write that; the old name goes in a later release"


_heard: ContextVar[list[Renaming] | None] = ContextVar("_heard", default=None)
_told: set[Renaming] = set()


@contextlib.contextmanager
def listening() -> Iterator[list[Renaming]]:
    """Collect the renamings that are met, for a caller who tells them where they stand; no warning is given."""
    renamings: list[Renaming] = []
    token = _heard.set(renamings)
    try:
        yield renamings
    finally:
        _heard.reset(token)


def tell(renaming: Renaming) -> None:
    """Hand the renaming to who listens, else warn of it (DeprecationWarning): once a process."""
    renamings = _heard.get()
    if renamings is not None:
        renamings.append(renaming)
    elif renaming not in _told:
        warnings.warn(str(renaming), DeprecationWarning, stacklevel=2)
    _told.add(renaming)


def former_names(info: FieldInfo) -> tuple[str, ...]:
    """Return the names that a field had before, the first one first."""
    return next((meta.names for meta in info.metadata if isinstance(meta, Formerly)), ())


def first_name(field: str, info: FieldInfo) -> str:
    """Return the first name that a field had, by which the identity knows it."""
    return next(iter(former_names(info)), field)


def current_name(fields: Mapping[str, FieldInfo], name: str) -> str:
    """Return the name today of a field; a name that none has, or had, as it is."""
    if name in fields:
        return name
    return next((field for field, info in fields.items() if name in former_names(info)), name)


def under_current_names(owner: str, fields: Mapping[str, FieldInfo], values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return values by the names of their fields today. Raises ValueError where one is given under two names."""
    if not any(key not in fields for key in values):
        return values
    renewed: dict[Any, Any] = {}
    for key, value in values.items():
        name = current_name(fields, key)
        if name in renewed or (name != key and name in values):
            other = next(k for k in values if k != key and current_name(fields, k) == name)
            raise ValueError(f"{other!r} and {key!r} are one field, which is called {name!r} now: say it once")
        if name != key:
            tell(Renaming(owner, key, name, is_field=True))
        renewed[name] = value
    return renewed
