"""Dotted paths into a spec: which field a path means, and which value the spec has there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from ablate.errors import SpecError, did_you_mean
from ablate.spec.component import Component, Config, Resolver, When
from ablate.spec.renamed import current_name
from ablate.spec.slots import default_name, named_today, slot_kind


def put(spec: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value deep in a spec; a slot that is given by its name alone becomes a mapping."""
    for key in path[:-1]:
        below = spec.get(key, {})
        spec[key] = {"type": below} if isinstance(below, str) else dict(below)
        spec = spec[key]
    spec[path[-1]] = value


def get(spec: Any, path: Sequence[str]) -> Any:
    """Return the value that a spec has at a path; None where it has none."""
    for key in path:
        spec = spec.get(key) if isinstance(spec, Mapping) else None
    return spec


def find_field(
    root: type[Config], spec: Mapping[str, Any], path: Sequence[str], resolver: Resolver
) -> FieldInfo | None:
    """Return the declaration of the field at a path of a spec; None where there is none, or it is not read."""
    fields = root.model_fields
    spec = {current_name(fields, key): value for key, value in spec.items()}
    field = current_name(fields, path[0])
    info = fields.get(field)
    if info is None:
        return None
    for meta in info.metadata:
        if isinstance(meta, When) and not _is_read(meta, root, spec, resolver):
            return None
    if len(path) == 1:
        return info
    cls, below = slot_class(info, spec.get(field), resolver)
    return None if cls is None else find_field(cls, below, path[1:], resolver)


def _is_read(when: When, root: type[Config], spec: Mapping[str, Any], resolver: Resolver) -> bool:
    sibling = root.model_fields.get(when.field)
    if sibling is None:
        return True
    if slot_kind(sibling) is None:
        return when.allows(spec.get(when.field, sibling.default))
    return when.allows(slot_class(sibling, spec.get(when.field), resolver)[0])


def allowed(when: When, root: type[Config], resolver: Resolver) -> list[Any]:
    """Return the values of its sibling under which a field is read; of a slot, the names of components."""
    sibling = root.model_fields.get(when.field)
    kind = None if sibling is None else slot_kind(sibling)
    if kind is None:
        return list(when.values)
    return [name for name in resolver.names(kind.kind) if when.allows(resolver.get(kind.kind, name))]


def conditions(root: type[Config], spec: Mapping[str, Any], path: Sequence[str], resolver: Resolver) -> list[str]:
    """Return the dotted paths of the fields that decide, by `When`, whether the field at a path is read."""
    info = root.model_fields.get(current_name(root.model_fields, path[0]))
    if info is None:
        return []
    fields = [meta.field for meta in info.metadata if isinstance(meta, When)]
    if len(path) > 1:
        cls, below = slot_class(info, spec.get(path[0], spec.get(current_name(root.model_fields, path[0]))), resolver)
        if cls is not None:
            fields += [f"{path[0]}.{deeper}" for deeper in conditions(cls, below, path[1:], resolver)]
    return fields


def slot_class(info: FieldInfo, value: Any, resolver: Resolver) -> tuple[type[Config] | None, Mapping[str, Any]]:
    """Return the class that fills a slot, by the spec or by default, and the spec below it."""
    kind = slot_kind(info)
    if kind is None:
        return None, {}
    value = named_today(info, default_name(info, resolver) if value is None else value)
    below = value if isinstance(value, Mapping) else {"type": value}
    name = below.get("type", default_name(info, resolver) or resolver.default(kind.kind))
    if not isinstance(name, str):
        return None, {}
    try:
        return resolver.get(kind.kind, name), below
    except SpecError:
        return None, {}


def why_not(root: type[Config], spec: Mapping[str, Any], path: Sequence[str], resolver: Resolver) -> str:
    """Explain where a path leaves the tree of a spec, and what there is instead."""
    for depth in range(len(path)):
        if find_field(root, spec, path[: depth + 1], resolver) is not None:
            continue
        above, name = path[:depth], path[depth]
        info = find_field(root, spec, above, resolver) if above else None
        cls = slot_class(info, get(spec, above), resolver)[0] if info else root
        if cls is None:
            break
        what = f"{cls.kind} {cls.name!r}" if issubclass(cls, Component) else "a candidate"
        name = current_name(cls.model_fields, name)
        if name not in cls.model_fields:
            below = get(spec, above) if above else spec
            return f"{what} has no field {name!r}{_hint(cls, below, above, name, resolver)}"
        when = next(meta for meta in cls.model_fields[name].metadata if isinstance(meta, When))
        values = " or ".join(map(repr, allowed(when, cls, resolver)))
        return f"{what} reads {name!r} only while {when.field!r} is {values}; say so in the base, or vary it too"
    return "nothing to vary there: no component is held at this path"


def _hint(cls: type[Config], spec: Any, above: Sequence[str], name: str, resolver: Resolver) -> str:
    """Say which part of a config has a field of this name, where one has; else what is near among its own."""
    spec = spec if isinstance(spec, Mapping) else {}
    filled = ((field, slot_class(info, spec.get(field), resolver)[0]) for field, info in cls.model_fields.items())
    places = [".".join((*above, field, name)) for field, part in filled if part and name in part.model_fields]
    return f"; did you mean {' or '.join(places)}?" if places else did_you_mean(name, cls.model_fields)
