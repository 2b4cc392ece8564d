"""JSON Schema of a study file, made from the catalog, so that an editor completes and checks it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from ablate.candidates.vary import RANGE
from ablate.discovery.catalog import Catalog
from ablate.spec.component import Config, Opened
from ablate.spec.descriptions import descriptions
from ablate.spec.slots import default_name, nested_config, slot_kind
from ablate.study.schema import Study

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_RANGE = {
    "type": "object",
    "properties": {
        "low": {"type": "number"},
        "high": {"type": "number"},
        "log": {"type": "boolean", "default": False, "description": "even in the logarithm"},
        "step": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "required": ["low", "high"],
    "additionalProperties": False,
}
_MODEL = {
    "type": "object",
    "description": "A known network by name or file; what stands beside it takes the place of its parts.",
    "properties": {"model": {"type": "string"}},
    "required": ["model"],
}
_NAMED = {
    "type": "object",
    "description": "Choices of a component by names of their own, which the tables show.",
    "minProperties": 1,
    "propertyNames": {"not": {"enum": ["type", *RANGE]}},
    "additionalProperties": {"type": ["string", "object"]},
}
_VARY = {
    "type": "object",
    "description": "What moves: a dotted path below `base`, and its choices.",
    "propertyNames": {"pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"},
    "additionalProperties": {
        "anyOf": [{"const": "all"}, {"type": "array", "minItems": 1, "uniqueItems": True}, _RANGE, _NAMED]
    },
}

_CONSTRAINTS = {
    "type": "object",
    "description": "What a candidate has to keep to: metrics, costs and probes, each with its bounds.",
    "additionalProperties": {
        "type": "object",
        "properties": {"at_most": {"type": "number"}, "at_least": {"type": "number"}},
        "minProperties": 1,
        "additionalProperties": False,
    },
}
_REFERENCE = {
    "type": ["object", "null"],
    "description": "A number for each objective, up to which the hypervolume counts: behind all that is worth it.",
    "additionalProperties": {"type": "number"},
}


def study_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a study file for the components of a catalog; plain JSON."""
    definitions: dict[str, Any] = {}
    for kind in catalog.kinds():
        choices = []
        for name in catalog.names(kind):
            schema = _config(catalog.get(kind, name), catalog, definitions)
            schema["properties"] = {"type": {"const": name}, **schema["properties"]}
            definitions[_key(kind, name)] = schema
            reference = {"$ref": f"#/$defs/{_key(kind, name)}"}
            fills = catalog.default(kind) == catalog.entry(kind, name).full_name  # then `type` may be left out
            choices.append(reference if fills else {**reference, "required": ["type"]})
        description = _text(catalog.kind(kind))
        definitions[kind] = {"description": description, "anyOf": [{"enum": catalog.names(kind)}, *choices]}
    study = _config(Study, catalog, definitions)
    base = study["properties"]["base"]
    study["properties"]["base"] = {"description": base.pop("description"), "anyOf": [_MODEL, base]}
    study["properties"]["vary"] = _VARY
    study["properties"]["constraints"] = _CONSTRAINTS
    study["properties"]["reference"] = _REFERENCE
    return {"$schema": DIALECT, "title": "ablate study", **study, "$defs": definitions}


def _key(kind: str, name: str) -> str:
    return f"{kind}.{name.replace(':', '.')}"


def _config(cls: type[Config], catalog: Catalog, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with the fields of a config, and no others."""
    plain = {f: info for f, info in cls.model_fields.items() if not slot_kind(info) and not nested_config(info)}
    described = _plain_fields(cls, plain, definitions)
    texts = descriptions(cls)
    properties, required = {}, []
    for field, info in cls.model_fields.items():
        schema = described[field] if field in plain else _nested(info, catalog, definitions)
        properties[field] = {"description": texts[field], **schema} if field in texts else schema
        if info.is_required() and not (slot_kind(info) and default_name(info, catalog)):
            required.append(field)
    return {
        "type": "object",
        "description": _text(cls),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _plain_fields(
    cls: type[Config], fields: Mapping[str, FieldInfo], definitions: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the schemas, by pydantic itself, of the fields that have no component."""
    annotated: dict[str, Any] = {field: (info.annotation, info) for field, info in fields.items()}
    model: type[BaseModel] = create_model(cls.__name__, **annotated)
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.get("$defs", {}))
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    for described in properties.values():
        described.pop("title", None)
    return properties


def _nested(info: FieldInfo, catalog: Catalog, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a slot for a component, of several of them, or of a nested config."""
    kind, nested = slot_kind(info), nested_config(info)
    if kind is None:
        assert nested is not None
        definitions[nested.__name__] = _config(nested, catalog, definitions)
        whole = {"$ref": f"#/$defs/{nested.__name__}"}
        return {"anyOf": [{"enum": list(nested.shorthands)}, whole]} if nested.shorthands else whole
    reference: dict[str, Any] = {"$ref": f"#/$defs/{kind.kind}"}
    if get_origin(info.annotation) is tuple:
        return {"type": "array", "items": reference}
    choices = [reference]
    if words := [word for meta in info.metadata if isinstance(meta, Opened) for word in meta.words]:
        choices.append({"enum": words})
    if isinstance(info.default, str) and info.default in catalog.names(kind.kind):
        choices.append({"$ref": f"#/$defs/{_key(kind.kind, info.default)}"})  # without `type`: the slot's own default
    if type(None) in get_args(info.annotation):
        choices.append({"type": "null"})
    default = default_name(info, catalog)
    described = reference if len(choices) == 1 else {"anyOf": choices}
    return {**described, **({"default": default.rpartition(":")[2]} if default else {})}


def _text(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")
