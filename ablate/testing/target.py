"""Resolution of what a user calls a plugin: a file, a folder, a distribution, a module, or one component."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.discovery.catalog import Broken, Catalog, Entry, catalog
from ablate.discovery.plugin_origins import is_origin, origin_of
from ablate.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Target:
    """The components of a plugin, and what of it could not be loaded."""

    catalog: Catalog
    entries: list[Entry]
    broken: list[Broken]


def find(target: str, plugins: Sequence[str] = ()) -> Target:
    """Return the components of a plugin. Raises InputError where there is none, or it brings nothing.

    target: a `.py` file, of a package its `__init__.py`; a place, `path:FOLDER` or `git+URL@REVISION`; a folder with a
    `pyproject.toml`, whose distribution is installed; the name of a distribution or of a module; or one component,
    `kind/name`. plugins: further files to load.
    """
    path = Path(target)
    files = origin_of(target, Path()).files if is_origin(target) else (target,) if path.suffix == ".py" else ()
    if files:
        components = catalog((*files, *plugins))
        plugins_files = {str(Path(file).resolve()) for file in files}
        homes = [_home(Path(file)) for file in plugins_files]
        plugin = _part(
            components,
            lambda e: any(e.file == home or home in e.file.parents for home in homes),
            lambda b: b.plugin in plugins_files,
        )
    elif (path / "pyproject.toml").is_file():
        plugin = _distribution(
            _project(path / "pyproject.toml"), plugins, f"; install it first: pip install -e {path}, or say path:{path}"
        )
    elif "/" in target:
        components = catalog(tuple(plugins))
        kind, _, name = target.partition("/")
        plugin = Target(components, [components.entry(kind, name)], [])
    else:
        plugin = _distribution(target, plugins)
    if not plugin.entries and not plugin.broken:
        raise InputError(f"{target} brings no component: there is no class that declares a name")
    return plugin


def _home(file: Path) -> Path:
    """Return a module's file; of a package its folder."""
    return file.parent if file.name == "__init__.py" else file


def _part(components: Catalog, of_entry: Callable[[Entry], bool], of_broken: Callable[[Broken], bool]) -> Target:
    return Target(
        components, [e for e in components.entries() if of_entry(e)], [b for b in components.broken if of_broken(b)]
    )


def _distribution(name: str, plugins: Sequence[str], advice: str = "") -> Target:
    components = catalog(tuple(plugins))
    plugin = _part(
        components,
        lambda e: _normal(e.distribution) == _normal(name),
        lambda b: _normal(b.plugin.partition(":")[0]) == _normal(name),
    )
    if plugin.entries or plugin.broken:
        return plugin
    if not advice and name.replace(".", "").isidentifier() and _importable(name):
        components = catalog((name, *plugins))
        below = f"{name}."
        return _part(components, lambda e: f"{e.cls.__module__}.".startswith(below), lambda b: b.plugin == name)
    installed = {entry.distribution for entry in components.entries()}
    raise InputError(f"no plugin {name!r} is installed{advice or did_you_mean(name, installed)}")


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def _project(file: Path) -> str:
    try:
        name = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"names no project ({error!r})", str(file)) from None
    return str(name)


def _normal(name: str) -> str:
    """Normalise the name of a distribution: case, '-', '_' and '.' make no difference."""
    return re.sub(r"[-_.]+", "-", name).lower()
