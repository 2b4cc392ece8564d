"""A study in which a new component is tried: where its kind has a slot, beside what stands there by default."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ablate.errors import InputError
from ablate.spec.slots import default_name, slot_kind

if TYPE_CHECKING:
    from ablate.discovery.catalog import Catalog, Entry
    from ablate.spec.component import Config

DEPTH = 3  # slots in slots, at the most
SAMPLES = 200  # of the study
SIZE = 16  # side of its images in pixels, where the data take any


def study_words(kind: str, catalog: Catalog) -> dict[str, Any] | None:
    """Return what the study's template needs, {path, usual, base, data, metric}; None where the kind has no such slot.

    What stands for a family (backbone, data, metric) is the first component that has the slot, or works from its
    defaults: the catalog is asked, no name is known here.
    """
    found = _place(kind, catalog)
    data, metric = _data(catalog), _metric(catalog)
    if found is None or data is None or metric is None:
        return None
    path, usual, base = found
    return {"path": path, "usual": usual, "base": base, "data": data, "metric": metric}


def _place(kind: str, catalog: Catalog) -> tuple[str, str, list[tuple[str, str]]] | None:
    """Return where the kind has a slot, what fills it usually, and the base's lines on the way there; breadth first."""
    from ablate.candidates.candidate import Candidate

    waiting: deque[tuple[str, type[Config], list[tuple[str, str]]]] = deque([("", Candidate, [])])
    while waiting:
        path, cls, base = waiting.popleft()
        for field, info in cls.model_fields.items():
            slot = slot_kind(info)
            if slot is None or info.default == ():  # a list of components is no choice
                continue
            own = f"{path}.{field}" if path else field
            entries = list(_entries(slot.kind, catalog))
            if slot.kind == kind and entries:
                usual = _bare(default_name(info, catalog)) or entries[0].name
                return own, usual, _with_backbone(base, catalog, own)
            if own.count(".") < DEPTH:
                waiting += [(own, entry.cls, [*base, (own, entry.name)]) for entry in entries]
    return None


def _with_backbone(base: list[tuple[str, str]], catalog: Catalog, own: str) -> list[tuple[str, str]]:
    """Return the base as lines of YAML; a backbone is always said."""
    lines = dict(base)
    if not any(path == "backbone" for path in lines):
        usual = next(iter(_entries("backbone", catalog)), None)
        lines = {"backbone": usual.name, **lines} if usual is not None else lines
    outer = [path for path in lines if "." not in path]
    return [(path, _nested(path, lines, own)) for path in outer]


def _nested(path: str, lines: dict[str, str], own: str) -> str:
    inner = [p for p in lines if p.startswith(f"{path}.") and p.count(".") == path.count(".") + 1]
    if not inner:
        return lines[path]
    fields = ", ".join(f"{p.rpartition('.')[2]}: {_nested(p, lines, own)}" for p in inner)
    return f"{{type: {lines[path]}, {fields}}}"


def _entries(kind: str, catalog: Catalog) -> Iterator[Entry]:
    """Yield a kind's components, its default first."""
    default = catalog.default(kind)
    yield from sorted(catalog.entries(kind), key=lambda e: (e.full_name != default, e.name))


def _bare(name: str | None) -> str | None:
    return None if name is None else name.rpartition(":")[2]


def _data(catalog: Catalog) -> str | None:
    """Return labelled data that are here: the first, by their names' order, that need no more than a size."""
    from ablate.kinds.data import Data

    for entry in _entries("data", catalog):
        try:
            sized = {"size": SIZE} if "size" in entry.cls.model_fields else {}
            if catalog.create(Data, {"type": entry.full_name, **sized}).setting().classes is not None:
                return f"{{type: {entry.name}, size: {SIZE}}}" if sized else entry.name
        except InputError:  # a folder to be named, or a package that is not here
            continue
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
