"""Where a study has a field of a name that was written in another place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic.fields import FieldInfo

from ablate.errors import Problem
from ablate.spec.component import Config, Resolver
from ablate.spec.fields import slot_class
from ablate.spec.slots import nested_config
from ablate.study.schema import Study

DEEP = 3  # keys of a path, as in base.optimizer.lr
NAMED = 3  # places


def with_places(problems: Iterable[Problem], data: Mapping[str, Any], resolver: Resolver) -> Iterator[Problem]:
    """Yield the problems; of an unknown field it is told where there is one of that name, not what is spelt alike.

    data: the study as it was read.
    """
    for problem in problems:
        name = str(problem.path[-1]) if problem.path else ""
        found = list(places(name, data, resolver))[:NAMED] if _is_unknown(problem, data, resolver) else []
        message = f"{problem.message.partition(';')[0]}; did you mean {' or '.join(found)}?"
        yield replace(problem, message=message) if found else problem


def places(name: str, data: Mapping[str, Any], resolver: Resolver) -> Iterator[str]:
    """Yield the dotted paths at which such a study has a field of a name, those that are least deep first."""
    level: list[tuple[str, type[Config], Mapping[str, Any]]] = [("", Study, data)]
    for _ in range(DEEP):
        yield from (f"{above}{name}" for above, cls, _ in level if name in cls.model_fields)
        level = [
            (f"{above}{field}.", held, spec)
            for above, cls, given in level
            for field, info in cls.model_fields.items()
            for held, spec in [_held(info, given.get(field), resolver)]
            if held is not None
        ]


def _is_unknown(problem: Problem, data: Mapping[str, Any], resolver: Resolver) -> bool:
    """Return whether the problem is that what stands at its path is no field of what stands above it."""
    cls: type[Config] | None = Study
    for key in problem.path:
        if cls is None or not isinstance(key, str):
            return False
        if key not in cls.model_fields:
            return key in data and key != "type"
        cls, data = _held(cls.model_fields[key], data.get(key), resolver)
    return False


def _held(info: FieldInfo, value: Any, resolver: Resolver) -> tuple[type[Config] | None, Mapping[str, Any]]:
    """Return the class of what a field holds, by the spec or by default, and the spec below it."""
    nested = nested_config(info)
    if nested is None:
        return slot_class(info, {} if value is None else value, resolver)
    return nested, value if isinstance(value, Mapping) else {}
