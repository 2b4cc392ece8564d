"""Warnings about old names in a study, each with its line, and about plugins that were written for an earlier API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ablate.errors import Path
from ablate.spec.renamed import Renaming
from ablate.study.loaded import LoadedStudy


def old_names(loaded: LoadedStudy) -> list[str]:
    """Return a line for each name that the study uses and that has changed, and for each plugin of an earlier API."""
    lines = [f"{_where(loaded, one)}{one}" for one in dict.fromkeys(loaded.renamings)]
    used = {entry.distribution for entry in loaded.used.values()}
    return [*lines, *(str(one) for one in loaded.catalog.outdated if one.distribution in used)]


def _where(loaded: LoadedStudy, renaming: Renaming) -> str:
    places = (loaded.document.where(path) for path in _places(loaded.document.data, renaming, ()))
    place = next((place for place in places if place), None)
    return f"{place}: " if place else ""


def _places(node: Any, renaming: Renaming, path: Path) -> Iterator[Path]:
    """Yield the paths at which an old name stands: of a field as a key, of a component as a value."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if renaming.is_field and str(key).rpartition(".")[2] == renaming.old:
                yield (*path, key)
            yield from _places(value, renaming, (*path, key))
    elif isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _places(item, renaming, (*path, i))
    elif not renaming.is_field and isinstance(node, str) and node.rpartition(":")[2] == renaming.old:
        yield path
