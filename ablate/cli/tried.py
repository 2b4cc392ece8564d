"""A study in which a new component is tried: where its kind has a slot, beside what stands there by default."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ablate.errors import InputError
from ablate.spec.slots import default_name, slot_kind

if TYPE_CHECKING:
    from ablate.discovery.catalog import Catalog, Entry
    from ablate.spec.component import Config, InputSpec

DEPTH = 3  # slots in slots, at the most
SAMPLES = 200  # of the study
SIZE = 16  # side of its images in pixels, where the data take any
ENOUGH = 30_000_000  # parameters and multiply-accumulates of its network: minutes of training on two cores


def study_words(kind: str, catalog: Catalog) -> dict[str, Any] | None:
    """Return what the study's template needs, {path, usual, base, data, metric}; None where the kind has no such slot.

    What stands for a family (backbone, data, metric) is the first component that has the slot, or works from its
    defaults, and of backbones the simplest, made small: the catalog is asked, no name is known here.
    """
    data, metric = _data(catalog), _metric(catalog)
    if data is None or metric is None:
        return None
    words, setting = data
    found = _place(kind, catalog, setting)
    if found is None:
        return None
    path, usual, way = found
    if not any(at == "backbone" for at, _ in way):
        way = [*way, ("backbone", next(_backbones(catalog, setting)).name)]
    base = _nested(way)
    base["backbone"] = _made_small(base["backbone"], catalog, setting)
    if path == "backbone":
        usual = base["backbone"]
    lines = {name: _flow(value) for name, value in base.items()}
    return {"path": path, "usual": _flow(usual), "base": lines, "data": _flow(words), "metric": metric}


def _place(kind: str, catalog: Catalog, setting: InputSpec) -> tuple[str, Any, list[tuple[str, str]]] | None:
    """Return where the kind has a slot, what fills it usually, and what fills those on the way there; breadth first."""
    from ablate.candidates.candidate import Candidate

    waiting: deque[tuple[str, type[Config], list[tuple[str, str]]]] = deque([("", Candidate, [])])
    while waiting:
        path, cls, way = waiting.popleft()
        for field, info in cls.model_fields.items():
            slot = slot_kind(info)
            if slot is None or info.default == ():  # a list of components is no choice
                continue
            own = f"{path}.{field}" if path else field
            backbones = slot.kind == "backbone"
            entries = list(_backbones(catalog, setting) if backbones else _entries(slot.kind, catalog))
            if slot.kind == kind and entries:
                return own, _bare(default_name(info, catalog)) or entries[0].name, way
            if own.count(".") < DEPTH:
                waiting += [(own, entry.cls, [*way, (own, entry.name)]) for entry in entries]
    return None


def _nested(way: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a base, {slot: {type, and the slots within it}}."""
    base: dict[str, Any] = {}
    for path, name in way:
        *outer, last = path.split(".")
        inside = base
        for slot in outer:
            inside = inside[slot]
        inside[last] = {"type": name}
    return base


def _backbones(catalog: Catalog, setting: InputSpec) -> Iterator[Entry]:
    """Yield the backbones that work on such data, the simplest first: of the fewest parts, then the cheapest."""
    from ablate.candidates.candidate import cost_of
    from ablate.kinds.backbone import Backbone

    order: dict[str, tuple[int, int]] = {}
    entries = {entry.name: entry for entry in _entries("backbone", catalog)}
    for entry in entries.values():
        try:
            backbone = catalog.create(Backbone, {"type": entry.full_name})
            cost = cost_of(backbone, setting)
        except (InputError, ValueError):
            continue
        order[entry.name] = sum(1 for _ in backbone.parts()), cost.params + cost.macs
    yield from (entries[name] for name in sorted(order, key=order.__getitem__))


def _made_small(spec: Mapping[str, Any], catalog: Catalog, setting: InputSpec) -> dict[str, Any]:
    """Return a backbone's spec with smaller numbers, of its own and of its parts, where it is large."""
    from ablate.kinds.backbone import Backbone
    from ablate.testing.small import numbers_of, shrink

    backbone = catalog.create(Backbone, spec)
    before = dict(numbers_of(backbone))
    small: dict[str, Any] = json.loads(json.dumps(spec))
    for path, number in numbers_of(shrink(backbone, setting, enough=ENOUGH)):
        if number != before[path]:
            *outer, last = path
            inside = small
            for at in outer:
                inside = inside.setdefault(str(at), {})
            inside[str(last)] = number
    return small


def _flow(value: Any) -> str:
    """Write a spec in a line of YAML."""
    if not isinstance(value, dict):
        return str(value)
    if value.keys() == {"type"}:
        return _flow(value["type"])
    return "{" + ", ".join(f"{name}: {_flow(inner)}" for name, inner in value.items()) + "}"


def _entries(kind: str, catalog: Catalog) -> Iterator[Entry]:
    """Yield a kind's components, its default first."""
    default = catalog.default(kind)
    yield from sorted(catalog.entries(kind), key=lambda e: (e.full_name != default, e.name))


def _bare(name: str | None) -> str | None:
    return None if name is None else name.rpartition(":")[2]


def _data(catalog: Catalog) -> tuple[dict[str, Any], InputSpec] | None:
    """Return labelled data that are here: the first, by their names' order, that need no more than a size."""
    from ablate.kinds.data import Data

    for entry in _entries("data", catalog):
        try:
            sized = {"size": SIZE} if "size" in entry.cls.model_fields else {}
            setting = catalog.create(Data, {"type": entry.full_name, **sized}).setting()
        except InputError:  # a folder to be named, or a package that is not here
            continue
        if setting.classes is not None:
            return {"type": entry.name, **sized}, setting
    return None


def _metric(catalog: Catalog) -> str | None:
    """Return a metric that few samples are enough for."""
    from ablate.kinds.metric import Metric

    for entry in _entries("metric", catalog):
        try:
            metric = catalog.create(Metric, {"type": entry.full_name})
        except InputError:
            continue
        if metric.uses_reference and not metric.gives and metric.too_few(SAMPLES) is None:
            return entry.name
    return None
