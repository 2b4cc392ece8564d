"""The lock file: the search space, baseline and versions of a study's first launch, which later launches must match.

Optuna refuses a new choice in a running study; a changed plugin or another budget would mix results
that do not belong together.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.candidates.space import Space
from ablate.discovery import provenance
from ablate.discovery.provenance import FRAMEWORK
from ablate.errors import InputError
from ablate.io.files import digest, write_json
from ablate.io.sealed import DamagedError, read_sealed, sealed, unsealed
from ablate.study import dataset, history, source_check
from ablate.study.load import LoadedStudy
from ablate.study.schema import metric_columns, otherwise
from ablate.worker.sources import short

SCHEMA = 1
PACKAGES = ("ablate", "torch", "numpy", "optuna")


def read(folder: Path) -> dict[str, Any] | None:
    """The lock of a study's folder; None where there is none. Raises InputError for a damaged one."""
    path = folder / "lock.json"
    if not folder.is_dir():
        return None
    try:
        held = unsealed(read_sealed(path))
    except FileNotFoundError:
        return None
    except DamagedError as error:
        raise InputError(f"{error.why}; restore it, or give another folder with --out", str(path)) from None
    if held.get("schema") != SCHEMA or not _whole(held):
        told = f"is no lock file of this version of ablate (schema {SCHEMA}); give another folder with --out"
        raise InputError(told, str(path))
    return held


def write(folder: Path, loaded: LoadedStudy, data_hash: str | None = None) -> None:
    """Keep the study as it is run, its local source, and its lock, which only forgets source that nothing stands on."""
    held = read(folder)
    locked = make(loaded) if held is None else _renewed(held, loaded)
    locked.update(dataset.locked(loaded.study.data, data_hash, held))
    if kept := {**locked.get("kept", {}), **history.keep_sources(folder, loaded)}:
        locked["kept"] = kept
    relative = Path(os.path.relpath(loaded.root, folder)).as_posix()
    locked["root"] = {"absolute": str(loaded.root), "relative": relative}
    if locked != held:
        plain = json.loads(json.dumps(locked, allow_nan=False))  # as it will be read
        write_json(folder / "lock.json", sealed(plain))  # first: by this file a folder is known to be a study's
    history.write_study(folder, loaded)


def make(loaded: LoadedStudy) -> dict[str, Any]:
    """The content of `lock.json`."""
    study, space = loaded.study, loaded.space
    return {
        "schema": SCHEMA,
        "study": study.study,
        "identity": study.digest(),
        "science": study.active(),  # what the identity is the hash of
        "spec": study.spec(),
        "choices": {d.path: space.labels(d) for d in space.dimensions if d.choices},
        "options": {d.path: _options(space, d.path) for d in space.dimensions if d.choices},
        "ranges": {d.path: _range(asdict(d)) for d in space.dimensions if not d.choices},
        "left_out": {path: dict(why) for path, why in space.left_out.items()},  # of `all`: {path: {name: why}}
        "baseline": dict(loaded.baseline),
        "names": loaded.names.to_json(),
        "objectives": [objective.name for objective in loaded.objectives],
        "constraints": dict(study.constraints or {}),
        "probes": [probe.name for probe in study.probes],
        "metrics": metric_columns(study.evaluate),
        "otherwise": otherwise(study.evaluate),
        "larger_is_better": [
            column
            for metric in study.evaluate.metrics
            if metric.larger_is_better
            for references in (None, 0)  # its canonical name, and the one that it has at few pictures
            for column in metric.columns(study.evaluate.samples, references).values()
        ]
        + [probe.name for probe in study.probes if probe.larger_is_better],
        "versions": versions(),
        "hashes": provenance.SCHEME,
        "plugins": plugins(loaded),
    }


def frozen_vary(lock: Mapping[str, Any]) -> dict[str, Any]:
    """{path: choices or range} of the first launch, for `load_study(frozen=...)`."""
    return {**lock["options"], **lock["ranges"]}


def check(folder: Path, loaded: LoadedStudy) -> list[str]:
    """Whether a folder belongs to this study, and today's source may join its results; lines about lesser changes.

    Raises InputError for another study's folder, with what differs, and for a change of source that complete
    trials stand on.
    """
    held = read(folder)
    if held is None:
        return []
    where = str(folder)
    if held["identity"] != loaded.study.digest():
        told = "\n".join(f"  {line}" for line in differences(held["science"], loaded.study.active()))
        raise InputError(
            f"holds another study, {held['study']!r}; what differs (there -> here):\n{told}\n"
            "give another folder with --out, or undo the change",
            where,
        )
    lines = _source_lines(folder, held, loaded)
    return lines + other_versions(folder, held)


def other_versions(folder: Path, held: Mapping[str, Any]) -> list[str]:
    """A line for each package that has another version than when the folder was begun."""
    now = versions()
    return [
        f"{folder} was begun with {name} {then}, this is {now.get(name)}: results may differ slightly"
        for name, then in held["versions"].items()
        if now.get(name) != then
    ]


def versions() -> dict[str, str]:
    """Versions of what decides results, without importing any of it."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def plugins(loaded: LoadedStudy) -> dict[str, dict[str, str]]:
    """Provenance of every component that a trial of the study can use, by `kind/name`, and of the framework."""
    since = {"since": datetime.now(UTC).isoformat(timespec="seconds")}
    found = {
        name: {"distribution": one.distribution, "version": one.version, "source_hash": one.source_hash, **since}
        for name, one in loaded.used.items()
    }
    own = {"distribution": FRAMEWORK, "version": versions()[FRAMEWORK], "source_hash": provenance.framework(), **since}
    return {**found, FRAMEWORK: own}


def differences(then: Any, now: Any, path: str = "") -> list[str]:
    """`path: old -> new` for every place in which two JSON trees differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        keys = [*then, *(key for key in now if key not in then)]
        return [
            line
            for key in keys
            for line in differences(then.get(key, _ABSENT), now.get(key, _ABSENT), f"{path}.{key}" if path else key)
        ]
    return [] if then == now else [f"{path}: {_show(then)} -> {_show(now)}"]


_ABSENT = object()


def _show(value: Any) -> str:
    return "(not there)" if value is _ABSENT else json.dumps(value)


def _whole(held: Mapping[str, Any]) -> bool:
    """Whether all that is relied on is there and of its type."""

    def words(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)

    def texts(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())

    def lists(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(one, list) for one in value.values())

    def reasons(value: Any) -> bool:
        return isinstance(value, dict) and all(map(texts, value.values()))

    def hashed(value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(one, dict) and isinstance(one.get("source_hash"), str) and isinstance(one.get("since", ""), str)
            for one in value.values()
        )

    wanted = {"identity": str, "science": dict, "options": lists, "ranges": dict, "versions": texts, "plugins": hashed}
    if_there = {"study": str, "spec": dict, "choices": lists, "baseline": dict, "objectives": words, "kept": texts}
    if_there |= {"metrics": texts, "constraints": dict, "larger_is_better": words, "left_out": reasons}
    if_there |= {"data": dict, "root": dict}

    def right(key: str, of: Any) -> bool:
        return isinstance(held[key], of) if isinstance(of, type) else bool(of(held[key]))

    return (
        all(key in held and right(key, of) for key, of in wanted.items())
        and digest(held["science"]) == held["identity"]
        and all(right(key, of) for key, of in if_there.items() if key in held)
    )


def _options(space: Space, path: str) -> list[Any]:
    """The choices as a study would give them; the base's own, and one without fields, is its name again."""
    options = space.options.get(path, {})
    dimension = next(d for d in space.dimensions if d.path == path)
    given = [(label, options.get(label, label)) for label in dimension.choices]
    return [
        label
        if isinstance(o, Mapping) and o.get("type") == label and (len(o) == 1 or label == dimension.baseline)
        else o
        for label, o in given
    ]


def _range(dimension: Mapping[str, Any]) -> dict[str, Any]:
    number = int if dimension["integer"] else float
    ends = {key: number(dimension[key]) for key in ("low", "high")}
    return {**ends, "log": dimension["log"], "step": dimension["step"]}


def _source_lines(folder: Path, held: Mapping[str, Any], loaded: LoadedStudy) -> list[str]:
    """What is to be said of source that changed; InputError where complete trials stand on it."""
    now = {**{name: one.source_hash for name, one in loaded.used.items()}, FRAMEWORK: provenance.framework()}
    lines = source_check.check(folder, held, now, {name: str(one.file) for name, one in loaded.used.items()})
    if held.get("hashes") == provenance.SCHEME:
        then = {name: one["source_hash"] for name, one in held["plugins"].items()}
        other = [name for name in now if name in then and then[name] != now[name]]
        if other:
            told = ", ".join(f"{name} ({short(then[name])} -> {short(now[name])})" for name in other)
            lines.append(
                f"other source than at the last launch, on which no complete trial stands: {told}; "
                "trials that were half trained with it begin anew"
            )
    return lines


def _renewed(held: Mapping[str, Any], loaded: LoadedStudy) -> dict[str, Any]:
    """The lock with today's source; what is the same source keeps its date."""
    then = held["plugins"] if held.get("hashes") == provenance.SCHEME else {}
    now = {
        name: then[name] if then.get(name, {}).get("source_hash") == one["source_hash"] else one
        for name, one in plugins(loaded).items()
    }
    return {**held, "names": loaded.names.to_json(), "hashes": provenance.SCHEME, "plugins": {**then, **now}}
