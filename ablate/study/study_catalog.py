"""The catalog of a study: its own plugins beside those that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ablate.discovery.catalog import Catalog, catalog
from ablate.discovery.plugin_files import stored_copy, stored_origin
from ablate.discovery.plugin_origins import Origin, is_origin, origin_of
from ablate.discovery.plugin_sources import unavailable
from ablate.errors import Argument, InputError, Problem
from ablate.errors import Path as Keys
from ablate.io.files import nameable
from ablate.study.refusal import refusal
from ablate.study.yaml import Document


def study_catalog(
    document: Document, further: Sequence[str], problems: Sequence[Problem]
) -> tuple[Catalog, tuple[Origin, ...]]:
    """Return the catalog with the study's own plugins, and further ones; and what those named by a place stand for.

    problems: of the study, so far. Raises InputError where a plugin is missing or cannot be loaded.
    """
    origins: list[Origin] = []
    all_problems = list(problems)
    entries = document.data.get("plugins", ())
    folder = document.file.parent if document.file else Path()
    places: dict[str, Keys] = {}  # by plugin, where the study names it
    for i, plugin in enumerate(entries if isinstance(entries, list | tuple) else ()):
        if not isinstance(plugin, str):
            continue  # reported with the other types
        if is_origin(plugin):
            try:
                origins.append(_origin(plugin, folder))
            except InputError as error:
                all_problems.append(Problem(("plugins", i), error.message))
                continue
            places |= dict.fromkeys(origins[-1].files, ("plugins", i))
            continue
        path = (folder / plugin).resolve()
        if plugin.endswith(".py") and not path.is_file():
            path = stored_copy(folder, path) or path
        if plugin.endswith(".py") and not path.is_file():
            all_problems.append(Problem(("plugins", i), f"there is no plugin file {path}{_files_beside(path)}"))
        elif not plugin.endswith(".py") and (reason := unavailable(plugin)) is not None:
            all_problems.append(Problem(("plugins", i), reason))
        places[str(path) if plugin.endswith(".py") else plugin] = ("plugins", i)
    if len(all_problems) > len(problems):
        raise refusal(document, all_problems)
    for plugin in further:
        if is_origin(plugin):
            try:
                origins.append(origin_of(plugin, Path()))
            except InputError as error:
                raise InputError(error.message, Argument("plugins")) from None
            for file in origins[-1].files:
                places.setdefault(file, ())
            continue
        nameable(Path(plugin), Argument("plugins"))
        path = Path(plugin).resolve()
        if plugin.endswith(".py") and not path.is_file():
            raise InputError(f"there is no plugin file {path}{_files_beside(path)}", Argument("plugins", plugin))
        if not plugin.endswith(".py") and (reason := unavailable(plugin)) is not None:
            raise InputError(reason, Argument("plugins", plugin))
        places.setdefault(str(path) if plugin.endswith(".py") else plugin, ())
    with_plugins = catalog(tuple(places), fresh=True)
    for broken in with_plugins.broken:
        if broken.plugin in places:
            message = f"plugin {broken.module} could not be loaded: {broken.summary}"
            if places[broken.plugin] == ():
                raise InputError(message, Argument("plugins", broken.plugin))
            all_problems.append(Problem(places[broken.plugin], message))
    if len(all_problems) > len(problems):
        raise refusal(document, all_problems)
    return with_plugins, tuple(origins)


def _origin(plugin: str, folder: Path) -> Origin:
    """Return what a plugin that is named by a place stands for; where that is gone, the copies that a folder keeps."""
    try:
        return origin_of(plugin, folder)
    except InputError:
        if (kept := stored_origin(folder, plugin)) is None:
            raise
        return kept


def _files_beside(path: Path) -> str:
    names = sorted(p.name for p in path.parent.glob("*.py"))
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""
