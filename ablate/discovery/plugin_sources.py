"""Sources of plugins: installed entry points, packages by name, and local files; how each is imported."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from ablate.discovery import hooks, provenance
from ablate.discovery.plugin_origins import content_of
from ablate.errors import InputError

_packages: dict[str, str] = {}  # the content of packages that lie somewhere, as this process imported them


@dataclass(frozen=True)
class PluginSource:
    """Where modules of a plugin come from: an installed distribution, or a local file."""

    plugin: str
    distribution: str
    version: str
    load: Callable[[], ModuleType]
    is_file: bool = False


def installed() -> Iterable[PluginSource]:
    """Yield a source for each entry point; two distributions may use the same entry-point name."""
    seen = set()
    for point in _points():
        distribution = point.dist.name if point.dist else "unknown"
        version = point.dist.version if point.dist else "unknown"
        if (distribution, point.name) not in seen:
            seen.add((distribution, point.name))
            yield PluginSource(f"{distribution}:{point.name}", distribution, version, point.load)


def _points() -> list[importlib.metadata.EntryPoint]:
    """Return the entry points of plugins, the framework's first: by name, as a folder's own order is its disk's."""

    def place(point: importlib.metadata.EntryPoint) -> tuple[bool, str, str]:
        distribution = point.dist.name if point.dist else ""
        return distribution != provenance.FRAMEWORK, distribution, point.name

    return sorted(importlib.metadata.entry_points(group=hooks.GROUP), key=place)


def folders(name: str) -> list[Path]:
    """Return the folders of that name in the packages of installed plugins, such as `models`; imports no plugin."""
    found: dict[Path, None] = {}
    for point in _points():
        try:
            spec = importlib.util.find_spec(point.module)
        except (ImportError, ValueError):  # a broken plugin, which the catalog tells
            continue
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            if (folder := Path(place) / name).is_dir():
                found.setdefault(folder)
    return list(found)


def unavailable(plugin: str) -> str | None:
    """Explain in one sentence why there is no plugin of that name; None where there is one to be loaded."""
    if "\0" in plugin or not plugin.strip():
        return f"{plugin!r} is no name of a plugin: name a .py file, or a package"
    path = Path(plugin)
    if plugin.endswith(".py"):
        return None if path.is_file() else f"there is no plugin file {plugin}"
    if path.is_file():
        return f"{plugin} is no plugin: the name of a Python file ends in .py"
    if os.sep in plugin or not plugin.replace(".", "").isidentifier():
        what = "is a folder" if path.is_dir() else "is no name of a package, and there is no such file"
        return f"{plugin} {what}: name a .py file, or a package that can be imported"
    if _importable(plugin):
        return None
    near = difflib.get_close_matches(f"{plugin}.py", [p.name for p in Path().glob("*.py")], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no package {plugin!r} that can be imported{hint or ', and no file of that name'}"


def _importable(package: str) -> bool:
    """Return whether a package is there; one that is there and broken is loaded, which tells why."""
    try:
        spec = importlib.util.find_spec(package)
    except Exception:  # noqa: BLE001 - a plugin's own code: what is above it is imported to find it
        return "." in package and _importable(package.rpartition(".")[0])
    return spec is not None and (spec.origin is not None or _holds_modules(spec))


def _holds_modules(spec: ModuleSpec) -> bool:
    """Return whether a folder without `__init__.py` holds modules: any folder is a package by its name alone."""
    return any(any(Path(place).glob("*.py")) for place in spec.submodule_search_locations or ())


def local(plugin: str) -> PluginSource:
    """Return a source for `--plugin FILE` or a name under `plugins:`: a `.py` file, or an importable package.

    The `__init__.py` of a package stands for all of it, under its own name, whatever is installed.
    """
    if (reason := unavailable(plugin)) is not None:
        raise InputError(reason)
    if not plugin.endswith(".py"):
        return PluginSource(plugin, plugin, "unknown", lambda: importlib.import_module(plugin))
    path = Path(plugin).resolve()
    if path.name == "__init__.py":
        return _package(path)
    source = path.read_bytes()
    content = hashlib.sha256(source).hexdigest()
    name = f"ablate_local_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        provenance.imported(path, source)
        try:  # what was read above and nothing else: neither an edit since then nor a compiled file of before it
            exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
        return module

    return PluginSource(str(path), path.stem, content[:12], load, is_file=True)


def _package(path: Path) -> PluginSource:
    """Return a source for a package that lies somewhere: its own imports find it by its name."""
    name, content = path.parent.name, content_of([str(path)])

    def load() -> ModuleType:
        if (already := sys.modules.get(name)) is not None:
            file = Path(getattr(already, "__file__", None) or "nowhere")
            if file == path or (_packages.get(name) == content and file.is_file()):
                return already
            if _packages.get(name) != content:
                raise ImportError(f"a package {name!r} was imported before, from {file}: begin a new process")
            for module_name in [one for one in sys.modules if f"{one}.".startswith(f"{name}.")]:
                del sys.modules[module_name]  # its place is gone: the same content is imported from here
        spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        _packages[name] = content
        return module

    return PluginSource(str(path), name, content[:12], load, is_file=True)
