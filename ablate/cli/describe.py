"""Description of a component, made from its declaration alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from textwrap import indent
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from ablate.errors import InputError
from ablate.spec.component import Choice, Component, Config, Extent, Range, When
from ablate.spec.descriptions import descriptions
from ablate.spec.fields import allowed
from ablate.spec.slots import default_name, slot_kind

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from ablate.discovery.catalog import Catalog, Entry

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def summary(cls: type) -> str:
    """Return the first line of a class's own docstring."""
    return (inspect.getdoc(cls) or "").split("\n", 1)[0] if vars(cls).get("__doc__") else ""


def describe(entry: Entry, catalog: Catalog) -> dict[str, Any]:
    """Return everything that `ablate plugins show` prints, as plain data."""
    cls = entry.cls
    texts = descriptions(cls)
    fields = []
    for name, info in cls.model_fields.items():
        fields.append({"name": name, **_field(info, cls, catalog), "comment": texts.get(name, "")})
    return {
        "kind": entry.kind,
        "name": entry.name,
        "full_name": entry.full_name,
        "doc": inspect.getdoc(cls) or "",
        "fields": fields,
        **_capabilities(entry, catalog),
        "file": str(entry.file),
        "line": entry.line,
        "distribution": entry.distribution,
        "version": entry.version,
        "source_hash": entry.source_hash,
    }


def as_text(description: Mapping[str, Any]) -> str:
    """Format a description as text."""
    lines = [f"{description['kind']}/{description['name']}", "", indent(description["doc"], "  "), ""]
    if description["fields"]:
        lines.append("fields")
    for field in description["fields"]:
        default = "required" if field["required"] else f"default {_value(field['default'])}"
        valid = f", {field['range']}" if field["range"] else ""
        lines.append(f"  {field['name']}: {field['type']}{valid}; {default}")
        if field["search"]:
            lines.append(f"      searched over {_search(field['search'])} by default")
        if field["only_while"]:
            lines.append(f"      read only while {field['only_while']}")
        if field["comment"]:
            lines.append(f"      {field['comment']}")
    for word in ("provides", "requires", "excludes"):
        if capabilities := description[word]:
            reasons = capabilities if isinstance(capabilities, Mapping) else dict.fromkeys(capabilities, "")
            lines.append(f"{word} (with its defaults)")
            lines += [f"  {name}: {why}" if why else f"  {name}" for name, why in reasons.items()]
    lines += [
        "",
        f"source        {description['file']}:{description['line']}",
        f"distribution  {description['distribution']} {description['version']}",
        f"source hash   {description['source_hash']}",
    ]
    return "\n".join(lines)


def _field(info: FieldInfo, cls: type[Config], catalog: Catalog) -> dict[str, Any]:
    kind = slot_kind(info)
    default_component = default_name(info, catalog)
    if kind and default_component and default_component.rpartition(":")[2] in catalog.names(kind.kind):
        default_component = default_component.rpartition(":")[2]  # a bare name is enough where no other plugin has it
    default = None if info.is_required() else _plain(info.get_default(call_default_factory=True))
    search: Any = None
    only_while = ""
    bounds = []
    for meta in info.metadata:
        if isinstance(meta, Choice):
            search = list(meta.values)
        elif isinstance(meta, Range):
            search = {"low": meta.low, "high": meta.high, "log": meta.log, "step": meta.step}
        elif isinstance(meta, When):
            only_while = f"{meta.field} is {' or '.join(map(str, allowed(meta, cls, catalog)))}"
        bounds += [f"{sign} {getattr(meta, name)}" for name, sign in BOUNDS.items() if hasattr(meta, name)]
        if getattr(meta, "pattern", None):
            bounds.append(f"matches {meta.pattern}")
    return {
        "type": _type(info.annotation),
        "kind": kind.kind if kind else None,
        "range": ", ".join(bounds),
        "required": info.is_required() and default_component is None,
        "default": default_component if default_component is not None and info.is_required() else default,
        "search": search,
        "only_while": only_while,
        "extent": any(isinstance(meta, Extent) for meta in info.metadata),
    }


def _capabilities(entry: Entry, catalog: Catalog) -> dict[str, Any]:
    """Return what a component's defaults bring and need; nothing where it has no complete defaults."""
    try:
        part = catalog.create(entry.kind, {"type": entry.full_name})
    except InputError:
        return {"provides": [], "requires": {}, "excludes": {}}
    return {
        "provides": sorted(part.provides()),
        "requires": dict(part.requires()),
        "excludes": dict(part.excludes()),
    }


def _type(annotation: Any) -> str:
    """Format a type in words: `int`, `fusion` (a slot), `'a' | 'b'`, `list of metric`."""
    if annotation is None or annotation is type(None):
        return "nothing"
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return annotation.kind
    if hasattr(annotation, "__metadata__"):  # an Annotated within: its bounds are told apart
        return _type(annotation.__origin__)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if origin in (tuple, list):
        return f"list of {_type(inner[0])}" if inner[-1] is Ellipsis or len(inner) == 1 else _several(inner)
    if origin is dict:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if origin is not None and (origin is Union or origin.__name__ == "UnionType"):
        return " or ".join(_type(one) for one in inner)
    return getattr(annotation, "__name__", str(annotation))


def _several(inner: tuple[Any, ...]) -> str:
    return f"list of {len(inner)}: {', '.join(map(_type, inner))}"


def _search(search: Any) -> str:
    if isinstance(search, list):
        return ", ".join(map(_value, search))
    step = f" in steps of {search['step']:g}" if search["step"] is not None else ""
    return f"{search['low']:g} to {search['high']:g}{step}{', evenly in the logarithm' if search['log'] else ''}"


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return str(value)


def _plain(value: Any) -> Any:
    """Return a default as JSON."""
    if hasattr(value, "spec"):
        return value.spec()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | float | str | dict) or value is None else str(value)
