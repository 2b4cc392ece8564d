"""Provenance of a study's folder: the study as it was run, a log of its launches, and copies of local plugins.

study.yaml             the effective study: profile and options are in it, so that it can be run again
study.original.yaml    the file as it was given, with its comments
launches.jsonl         a line a launch: command, options, date, host, versions, commit
sources/<hash>/*.py    local plugins with their helpers, each state once
"""

from __future__ import annotations

import io
import shlex
import socket
import subprocess
from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ablate.discovery import provenance
from ablate.discovery.plugin_origins import content_of, package_files
from ablate.io import launches
from ablate.io.files import write_atomic
from ablate.study.loaded import LoadedStudy

HEAD = "# What was run here, with every option applied; `ablate show` tells by which commands.\n"
PACKAGE = "__init__.py"
EFFECTIVE, ORIGINAL, SOURCES = "study.yaml", "study.original.yaml", "sources"


def write_study(folder: Path, loaded: LoadedStudy) -> None:
    """Write the effective study, and the file that it was made from, where there is another."""
    document = loaded.document
    if document.text is not None and (document.file is None or document.file.resolve() != folder / EFFECTIVE):
        write_atomic(folder / ORIGINAL, document.text)
    write_atomic(folder / EFFECTIVE, effective(folder, loaded))


def effective(folder: Path, loaded: LoadedStudy) -> str:
    """Return the study with profile and overrides applied, as YAML; its plugins are found from the folder."""
    data = deepcopy(loaded.document.data)
    data.pop("profiles", None)  # one was applied, or none was asked for
    placed = {file: origin.pinned for origin in loaded.origins for file in origin.files}  # for good, as it was used
    plugins = [placed.get(plugin) or _from_folder(folder, plugin) for plugin in loaded.catalog.plugins]
    plugins = list(dict.fromkeys(plugins))
    if plugins or "plugins" in data:
        data["plugins"] = plugins
    stream = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 100
    yaml.dump(data, stream)
    return HEAD + stream.getvalue()


def keep_sources(folder: Path, loaded: LoadedStudy) -> dict[str, str]:
    """Copy the local source that is used into the folder.

    Returns {plugin's file, or kind/name of a component: the copy's place below the folder}.
    """
    files = [plugin for plugin in loaded.catalog.plugins if plugin.endswith(".py")]
    packages = {plugin: _copy_package(folder, Path(plugin)) for plugin in files if Path(plugin).name == PACKAGE}
    modules = {plugin: (Path(plugin), "local") for plugin in files if plugin not in packages}
    for name, entry in loaded.used.items():
        if provenance.is_local(entry.file, entry.cls.__module__):
            modules[name] = (entry.file, entry.cls.__module__)
    return packages | {name: _copy_source(folder, file, module) for name, (file, module) in modules.items()}


def log(folder: Path, action: str, study: str | None, **options: Any) -> None:
    """Add a launch to the log: its options, and where and with what it runs. study: the file that it was read from."""
    entry = {
        "schema": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "action": action,
        "study": study,
        **options,
        "cwd": str(Path.cwd()),
        "host": socket.gethostname(),
        "framework": provenance.framework(),
        "commit": commit(),
    }
    launches.append(folder, entry)


def command(words: Sequence[str] | None, otherwise: str) -> str:
    """Return the command line as it can be pasted into a shell; `otherwise` where there is none."""
    return otherwise if words is None else shlex.join(["ablate", *words])


def commit() -> str | None:
    """Return the commit of ablate's own checkout, `-dirty` where files differ from it; None where it is installed."""
    own = _git("ls-files", "--error-unmatch", "__init__.py")  # an environment may lie in somebody else's repository
    return own and _git("describe", "--always", "--dirty", "--abbrev=12")


def _git(*words: str) -> str | None:
    git = ["git", "-C", provenance.home(), *words]
    try:
        process = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()


def _from_folder(folder: Path, plugin: str) -> str:
    """Return a plugin as the effective study names it: relative, where it lies in the folder, which may move."""
    path = Path(plugin)
    return str(path.relative_to(folder)) if path.is_absolute() and path.is_relative_to(folder) else plugin


def _copy_source(folder: Path, file: Path, module: str) -> str:
    """Copy the source of a module, with its helpers beside it as they are imported, and return the copy's place."""
    place = Path(SOURCES, provenance.source_hash(file, module)[: provenance.SHOWN])
    for name, path in provenance.modules(file, module).items():
        if name and not provenance.is_local(path, name):
            continue
        target = folder / place / (Path(path.name) if not name else _as_imported(name, path))
        if not target.is_file():
            write_atomic(target, provenance.content(path))
    return str(place / file.name)


def _copy_package(folder: Path, file: Path) -> str:
    """Copy a package with all that lies in it, and return the copy's place: of its `__init__.py`."""
    place = Path(SOURCES, content_of([str(file)])[: provenance.SHOWN], file.parent.name)
    for member in package_files(file):
        target = folder / place / member.relative_to(file.parent)
        if not target.is_file():
            write_atomic(target, member.read_bytes())
    return str(place / file.name)


def _as_imported(module: str, file: Path) -> Path:
    path = Path(*module.split("."))
    return path / file.name if file.stem == "__init__" else path.with_suffix(file.suffix)
