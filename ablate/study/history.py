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
from ablate.io import launches
from ablate.io.files import write_atomic
from ablate.study.load import LoadedStudy

HEAD = "# What was run here, with every option applied; `ablate show` tells by which commands.\n"
EFFECTIVE, ORIGINAL, SOURCES = "study.yaml", "study.original.yaml", "sources"


def write_study(folder: Path, loaded: LoadedStudy) -> None:
    """The effective study, and the file that it was made from, where there is another."""
    document = loaded.document
    if document.text is not None and (document.file is None or document.file.resolve() != folder / EFFECTIVE):
        write_atomic(folder / ORIGINAL, document.text)
    write_atomic(folder / EFFECTIVE, effective(folder, loaded))


def effective(folder: Path, loaded: LoadedStudy) -> str:
    """The study with all that was said beside it, as YAML; its plugins are found from the folder."""
    data = deepcopy(loaded.document.data)
    data.pop("profiles", None)  # one was applied, or none was wanted
    plugins = [_from_folder(folder, plugin) for plugin in loaded.catalog.plugins]
    if plugins or "plugins" in data:
        data["plugins"] = plugins
    stream = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 100
    yaml.dump(data, stream)
    return (
        f"# What was run here, with every option applied; `ablate show` tells by which commands.\n{stream.getvalue()}"
    )


def keep_sources(folder: Path, loaded: LoadedStudy) -> dict[str, str]:
    """Keep local source that is used; {plugin's file, or kind/name of a component: where it lies below the folder}."""
    wanted = {plugin: (Path(plugin), "local") for plugin in loaded.catalog.plugins if plugin.endswith(".py")}
    for name, entry in loaded.used.items():
        if provenance.is_local(entry.file, entry.cls.__module__):
            wanted[name] = (entry.file, entry.cls.__module__)
    return {name: _kept(folder, file, module) for name, (file, module) in wanted.items()}


def log(folder: Path, what: str, loaded_from: str | None, **said: Any) -> None:
    """Add a launch to the log: what was said, and where and with what it runs."""
    told = {
        "schema": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "action": what,
        "study": loaded_from,
        **said,
        "cwd": str(Path.cwd()),
        "host": socket.gethostname(),
        "framework": provenance.framework(),
        "commit": commit(),
    }
    launches.append(folder, told)


def command(words: Sequence[str] | None, otherwise: str) -> str:
    """The command line as it can be pasted into a shell; the function that was called, where there is none."""
    return otherwise if words is None else shlex.join(["ablate", *words])


def commit() -> str | None:
    """The commit of ablate's own checkout, with `-dirty` where files differ from it; None where it is installed."""
    own = _git("ls-files", "--error-unmatch", "__init__.py")  # an environment may lie in somebody else's repository
    return own and _git("describe", "--always", "--dirty", "--abbrev=12")


def _git(*words: str) -> str | None:
    asked = ["git", "-C", provenance.home(), *words]
    try:
        ran = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()


def _from_folder(folder: Path, plugin: str) -> str:
    """A plugin as the effective study names it: what is kept in the folder goes with it, should the folder move."""
    path = Path(plugin)
    return str(path.relative_to(folder)) if path.is_absolute() and path.is_relative_to(folder) else plugin


def _kept(folder: Path, file: Path, module: str) -> str:
    """Write the source of a module, with its helpers beside it as they are imported; where it lies."""
    place = Path(SOURCES, provenance.source_hash(file, module)[: provenance.SHOWN])
    for name, path in provenance.modules(file, module).items():
        if name and not provenance.is_local(path, name):
            continue
        inside = Path(path.name) if not name else _as_imported(name, path)
        if not (folder / place / inside).is_file():
            write_atomic(folder / place / inside, provenance.content(path))
    return str(place / file.name)


def _as_imported(module: str, file: Path) -> Path:
    inside = Path(*module.split("."))
    return inside / file.name if file.stem == "__init__" else inside.with_suffix(file.suffix)
