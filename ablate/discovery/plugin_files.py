"""Plugin files of a study's folder: where each lies today, or the copy that the folder keeps of one that is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ablate.discovery.plugin_origins import Origin, content_of, expanded
from ablate.errors import Argument, InputError
from ablate.io.files import nameable, read_json


def plugin_names(plugins: str | Path | Iterable[str | Path]) -> tuple[str, ...]:
    """Return plugin files and packages as names; one may stand without a list."""
    return (str(plugins),) if isinstance(plugins, str | Path) else tuple(str(plugin) for plugin in plugins)


def stored_copy(folder: Path, plugin: str | Path) -> Path | None:
    """Return the folder's copy of a plugin file, as the newest launch used it; None where it has none.

    folder: of a study that was run, or any other. plugin: the file's path as the lock names it.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        file = Path(folder / read_json(folder / "lock.json")["kept"][str(plugin)])
        return file.absolute() if file.is_file() else None
    return None


def stored_origin(folder: Path, plugin: str) -> Origin | None:
    """Return the copies that a study's folder keeps of a plugin that is named by a place; None where it has none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        pins = read_json(folder / "lock.json")["origins"]
        pin = next(one for one in pins if plugin in (one["plugin"], one["pinned"]))
        copies = [stored_copy(folder, file) for file in pin["files"]]
        files = tuple(str(copy) for copy in copies if copy is not None)
        if files and len(files) == len(copies):
            return Origin(plugin, pin["pinned"], files, content_of(files), pin["commit"])
    return None


def plugins_today(folder: Path, of_trial: Sequence[str], of_command: Sequence[str]) -> list[str]:
    """Return the plugins of a trial by where they are today: as given, where they were, or as the folder keeps them.

    of_trial: files and packages of the trial's job. of_command: those of the command line; a file stands in for one of
    the same name, others join. Raises InputError for a file that is nowhere.
    """
    of_command = expanded(of_command)
    by_name = {_name(plugin): plugin for plugin in of_command}
    plugins = []
    for plugin in of_trial:
        path = Path(plugin)
        if not plugin.endswith(".py"):
            plugins.append(plugin)
        elif _name(plugin) in by_name:
            plugins.append(_file(by_name[_name(plugin)]))
        elif path.is_file():
            plugins.append(plugin)
        elif (stored := stored_copy(folder, plugin)) is not None:
            plugins.append(str(stored))
        else:
            message = f"the plugin file {plugin} is gone, and {folder} keeps no copy; say where it is with --plugin"
            raise InputError(message, str(folder))
    further = (_file(plugin) if plugin.endswith(".py") else plugin for plugin in of_command)
    return list(dict.fromkeys([*plugins, *further]))


def _name(plugin: str) -> str:
    """Return the name under which a file stands in for another: its own, of a package that of its folder."""
    path = Path(plugin)
    if not plugin.endswith(".py"):
        return plugin
    return f"{path.parent.name}/" if path.name == "__init__.py" else path.name


def _file(plugin: str) -> str:
    path = nameable(Path(plugin), Argument("plugins")).resolve()
    if not path.is_file():
        raise InputError(f"there is no plugin file {path}", Argument("plugins", plugin))
    return str(path)
