"""Plugins that are named by a place: a folder or file (`path:../mine`), or a commit (`git+https://host/mine@v1`).

Either may be a package's project (a folder with pyproject.toml, whose entry points say which modules it brings), a
folder with one module or package, or a `.py` file. Nothing is installed: what it depends on has to be there already.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.discovery import hooks
from ablate.discovery.git_checkout import checkout
from ablate.errors import InputError
from ablate.io.files import nameable

FOLDER, GIT = "path:", "git+"
_NO_PLUGINS = re.compile(r"(test_.*|.*_test|conftest|setup|noxfile)\.py")  # files beside a module
_SHOWN = 5  # modules that a message names


@dataclass(frozen=True)
class Origin:
    """What such a name stands for today."""

    plugin: str  # as the study says it
    pinned: str  # the same for good: with the whole path, or the commit
    files: tuple[str, ...]  # of the modules that it brings; of a package its `__init__.py`
    content: str  # SHA-256 over these modules, and all that lies in these packages
    commit: str | None = None


def is_origin(plugin: str) -> bool:
    """Return whether a plugin is named by a place."""
    return plugin.startswith((FOLDER, GIT))


def origin_of(plugin: str, folder: Path) -> Origin:
    """Return what a plugin stands for. folder: from which a relative path goes out.

    Raises InputError where there is no such place or revision, or no plugin there. A revision that is a commit in full
    is looked for on this machine first; a branch or tag is asked for anew, once a process.
    """
    if plugin.startswith(FOLDER):
        place = nameable(folder / plugin.removeprefix(FOLDER)).resolve()
        if not place.exists():
            raise InputError(f"{plugin}: there is no {place}")
        return _origin(plugin, f"{FOLDER}{place}", place, None)
    found = checkout(plugin.removeprefix(GIT))
    below = f"#subdirectory={found.below}" if found.below else ""
    return _origin(plugin, f"{GIT}{found.url}@{found.commit}{below}", found.folder, found.commit)


def expanded(plugins: Sequence[str], folder: Path | None = None) -> tuple[str, ...]:
    """Return the plugins with the files of those named by a place; folder: the working directory by default."""
    files: list[str] = []
    for plugin in plugins:
        files += origin_of(plugin, folder or Path()).files if is_origin(plugin) else (plugin,)
    return tuple(dict.fromkeys(files))


def content_of(files: Sequence[str]) -> str:
    """Compute the SHA-256 over modules, and over all files of packages but what Python makes of them."""
    total = hashlib.sha256()
    for file in map(Path, files):
        for member in package_files(file):
            total.update(f"{member.relative_to(file.parent.parent).as_posix()}\0".encode())
            total.update(hashlib.sha256(member.read_bytes()).digest())
    return total.hexdigest()


def package_files(file: Path) -> Iterator[Path]:
    """Yield the files of a module, in order: itself, or of a package all that is in its folder."""
    if file.name != "__init__.py":
        yield file
        return
    for member in sorted(file.parent.rglob("*")):
        hidden = any(p.startswith(".") or p == "__pycache__" for p in member.relative_to(file.parent).parts)
        if member.is_file() and not hidden and member.suffix != ".pyc":
            yield member


def _origin(plugin: str, pinned: str, place: Path, commit: str | None) -> Origin:
    files = tuple(str(file) for file in _modules(place, plugin))
    return Origin(plugin, pinned, files, content_of(files), commit)


def _modules(place: Path, plugin: str) -> list[Path]:
    """Return the files of the modules that a place brings. Raises InputError where it brings none, or it is unclear."""
    if place.is_file():
        if place.suffix != ".py":
            raise InputError(f"{plugin}: {place.name} is no plugin: the name of a Python file ends in .py")
        return [place]
    if (place / "__init__.py").is_file():
        return [place / "__init__.py"]
    if (project := place / "pyproject.toml").is_file() and (names := _entry_points(project, plugin)):
        return [_file_of(name, place, plugin) for name in names]
    found = [file for file in sorted(place.glob("*.py")) if not _NO_PLUGINS.fullmatch(file.name)]
    found += sorted(file for file in place.glob("*/__init__.py") if file.parent.name not in ("tests", "docs"))
    if len(found) == 1:
        return found
    if not found:
        raise InputError(f"{plugin}: there is no module in it, and no pyproject.toml with an entry point of ablate")
    listed = ", ".join(str(file.relative_to(place)) for file in found[:_SHOWN])
    raise InputError(
        f"{plugin}: it holds several modules ({listed}): name one of them, or say in its pyproject.toml "
        f"[project.entry-points.{hooks.GROUP}] which it brings"
    )


def _entry_points(project: Path, plugin: str) -> list[str]:
    """Return the modules that a project's entry points of ablate name."""
    try:
        points = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        named = points.get("entry-points", {}).get(hooks.GROUP, {})
        modules = [str(value).partition(":")[0].strip() for value in named.values()]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{plugin}: its pyproject.toml cannot be read ({error})") from None
    return list(dict.fromkeys(modules))


def _file_of(module: str, project: Path, plugin: str) -> Path:
    """Return the file of a project's module: beside pyproject.toml, or in `src`."""
    for root in (project, project / "src"):
        path = root.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file() and file.resolve().is_relative_to(project.resolve()):
                return file
    raise InputError(
        f"{plugin}: its entry point names the module {module!r}, which is neither beside its pyproject.toml nor in src/"
    )
