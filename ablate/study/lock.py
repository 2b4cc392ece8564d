"""The lock file: the search space, baseline and versions of a study's first launch, which later launches must match.

Optuna refuses a new choice in a running study; a changed plugin or another budget would mix results
that do not belong together.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Collection, Mapping
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
from ablate.study import aside, dataset, grow, history, source_check
from ablate.study.declare import check_analysis, complete_seeds, describe_growth, is_analysis, locked_analysis
from ablate.study.differences import differences
from ablate.study.loaded import LoadedStudy
from ablate.study.schema import columns_during, larger_is_better, metric_columns, otherwise
from ablate.study.seeds import check_looks, is_looks, locked_looks
from ablate.study.taught import check_identities, identities
from ablate.worker.sources import short

SCHEMA = 1
FILE = "lock.json"
PACKAGES = ("ablate", "torch", "numpy", "optuna")


def read(folder: Path) -> dict[str, Any] | None:
    """Read the lock of a study's folder; None where there is none. Raises InputError for a damaged one."""
    path = folder / FILE
    if not folder.is_dir():
        return None
    try:
        lock = unsealed(read_sealed(path))
    except FileNotFoundError:
        return None
    except DamagedError as error:
        raise InputError(f"{error.why}; restore it, or give another folder with --out", str(path)) from None
    if lock.get("schema") != SCHEMA or not _is_complete(lock):
        problem = f"is no lock file of this version of ablate (schema {SCHEMA}); give another folder with --out"
        raise InputError(problem, str(path))
    return lock


def check_place(folder: Path) -> None:
    """Raise InputError where a study that runs is no longer in its folder: who writes there begins another one."""
    if not (folder / FILE).exists():
        raise InputError(
            f"there is no {FILE} any more: the folder was renamed, moved or removed while the study ran. What was "
            "measured lies where it is now; go on there with --out",
            str(folder),
        )


def write(folder: Path, loaded: LoadedStudy, data_hash: str | None = None) -> None:
    """Write the study as it is run, its local source, and its lock; an older lock is brought up to date."""
    before = read(folder)
    lock = make(loaded) if before is None else _renewed(before, loaded, complete_seeds(folder))
    if before is not None and lock["identity"] != before["identity"]:
        if _has_more_budget(before, loaded):
            aside.set_aside(folder, before)
        else:
            grow.set_ledger_aside(folder)
    lock.update(dataset.locked(loaded.study.data, data_hash, before))
    if copies := {**lock.get("kept", {}), **history.keep_sources(folder, loaded)}:
        lock["kept"] = copies
    relative = Path(os.path.relpath(loaded.root, folder)).as_posix()
    lock["root"] = {"absolute": str(loaded.root), "relative": relative}
    if lock != before:
        plain = json.loads(json.dumps(lock, allow_nan=False))  # as it will be read
        write_json(folder / FILE, sealed(plain))  # first: by this file a folder is known to be a study's
    history.write_study(folder, loaded)


def make(loaded: LoadedStudy) -> dict[str, Any]:
    """Return the content of `lock.json`."""
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
        "planned": _planned(loaded),
        "names": loaded.names.to_json(),
        "objectives": [objective.name for objective in loaded.objectives],
        "constraints": dict(study.constraints or {}),
        "reference": dict(study.reference or {}),
        "probes": [probe.name for probe in study.probes],
        "metrics": metric_columns(study.evaluate),
        "otherwise": otherwise(study.evaluate),
        "during": columns_during(study.evaluation),
        "rungs": list(study.fidelity.rungs()),
        "seeding": locked_looks(study),
        "analysis": locked_analysis(loaded),
        **_teachers(loaded),
        **_origins(loaded),
        "larger_is_better": larger_is_better(study),
        "versions": versions(),
        "hashes": provenance.SCHEME,
        "plugins": plugins(loaded),
    }


def frozen_vary(lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return {path: choices or range} of the first launch, for `load_study(frozen=...)`."""
    return {**lock["options"], **lock["ranges"]}


def frozen_fidelity(lock: Mapping[str, Any], given: Any) -> dict[str, Any] | None:
    """Return a study's fidelity with what it leaves to a default as it was at the first launch.

    given: as the study has it. None where there was another one, or nothing is left to a default: a default may be
    another value in a later version, and the rungs of a folder do not change.
    """
    before = lock.get("spec", {}).get("fidelity")
    said = {"type": given} if isinstance(given, str) else given
    if not isinstance(before, Mapping) or not isinstance(said, Mapping) or said.get("type") != before.get("type"):
        return None
    return None if before.keys() <= said.keys() else {**before, **said}


def check(folder: Path, loaded: LoadedStudy) -> list[str]:
    """Check that a folder belongs to this study, and that today's source may join its results.

    Returns lines about what is added to it, and about lesser changes.

    Raises InputError for another study's folder, with what differs, and for a change of source that complete
    trials stand on.
    """
    lock = read(folder)
    if lock is None:
        return []
    added = grow.growth(lock["science"], loaded.study.active())
    if added is None:
        changes = "\n".join(f"  {line}" for line in differences(lock["science"], loaded.study.active()))
        raise InputError(
            f"holds another study, {lock['study']!r}; what differs (there -> here):\n{changes}\n"
            "give another folder with --out, or undo the change",
            str(folder),
        )
    _check_rungs(folder, lock, loaded)
    check_looks(folder, lock, loaded.study)
    check_analysis(folder, lock, loaded.study)
    check_identities(folder, lock.get("teachers"), loaded)
    lines = [f"the study grows: {line}" for line in added] + _other_reference(lock, loaded)
    then, seen = lock.get("analysis"), complete_seeds(folder)
    lines += describe_growth(then, locked_analysis(loaded, then, seen))
    if _has_more_budget(lock, loaded):
        name = aside.name_of(lock["science"]["budget"])
        lines.append(f"trials of the smaller budget move to {folder / name}: they stand in no table of the larger one")
    moved = _moved(lock, loaded)
    try:
        return lines + moved + _source_lines(folder, lock, loaded) + other_versions(folder, lock)
    except InputError as error:
        raise InputError("\n".join((error.message, *moved)), error.where) from None


def _check_rungs(folder: Path, lock: Mapping[str, Any], loaded: LoadedStudy) -> None:
    """Raise InputError where candidates would pause elsewhere than before; with no rungs, all go on to their ends."""
    then, now = list(lock.get("rungs", [])), list(loaded.study.fidelity.rungs())
    if now and then != now:
        before, after = (", ".join(map(str, rungs)) for rungs in (then, now))
        before = f"its candidates pause at {before} of their budget" if then else "nobody pauses in it"
        raise InputError(
            f"{before}, and with fidelity {loaded.study.fidelity.name!r} they would at {after}: what "
            "was measured at other rungs does not compare; leave the fidelity as it was, train all to the end with "
            f"--set fidelity={loaded.catalog.default('fidelity')}, or give another folder with --out",
            str(folder),
        )


def _other_reference(lock: Mapping[str, Any], loaded: LoadedStudy) -> list[str]:
    """Return a line where hypervolumes counted up to another reference point before: those do not compare."""
    then, now = lock.get("reference") or {}, dict(loaded.study.reference or {})
    return [f"another reference point, up to which hypervolumes count: {then} -> {now}"] if then and then != now else []


def other_versions(folder: Path, lock: Mapping[str, Any]) -> list[str]:
    """Return a line for each package that has another version than when the folder was begun."""
    now = versions()
    return [
        f"{folder} was begun with {name} {then}, this is {now.get(name)}: results may differ slightly"
        for name, then in lock["versions"].items()
        if now.get(name) != then
    ]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results, without importing any of them."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def plugins(loaded: LoadedStudy) -> dict[str, dict[str, str]]:
    """Return the provenance of every component that a trial can use, by `kind/name`, and of the framework."""
    since = {"since": datetime.now(UTC).isoformat(timespec="seconds")}
    components = {
        name: {"distribution": entry.distribution, "version": entry.version, "source_hash": entry.source_hash, **since}
        for name, entry in loaded.used.items()
    }
    own = {"distribution": FRAMEWORK, "version": versions()[FRAMEWORK], "source_hash": provenance.framework(), **since}
    return {**components, FRAMEWORK: own}


def _is_complete(lock: Mapping[str, Any]) -> bool:
    """Return whether all keys that are relied on are there and of their types."""

    def words(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)

    def texts(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())

    def lists(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(item, list) for item in value.values())

    def reasons(value: Any) -> bool:
        return isinstance(value, dict) and all(map(texts, value.values()))

    def hashed(value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(item, dict)
            and isinstance(item.get("source_hash"), str)
            and isinstance(item.get("since", ""), str)
            for item in value.values()
        )

    required = {"identity": str, "science": dict, "options": lists, "ranges": dict, "versions": texts}
    required |= {"plugins": hashed}
    optional = {"study": str, "spec": dict, "choices": lists, "baseline": dict, "objectives": words, "kept": texts}
    optional |= {"metrics": texts, "constraints": dict, "larger_is_better": words, "left_out": reasons}
    optional |= {
        "teachers": words,
        "origins": _are_origins,
        "reference": dict,
        "planned": int,
        "data": dict,
        "root": dict,
        "seeding": lambda looks: looks is None or is_looks(looks),
        "analysis": is_analysis,
    }

    def right(key: str, check: Any) -> bool:
        return isinstance(lock[key], check) if isinstance(check, type) else bool(check(lock[key]))

    return (
        all(key in lock and right(key, check) for key, check in required.items())
        and digest(lock["science"]) == lock["identity"]
        and all(right(key, check) for key, check in optional.items() if key in lock)
    )


def _are_origins(value: Any) -> bool:
    def origin(one: Any) -> bool:
        return (
            isinstance(one, dict)
            and all(isinstance(one.get(key), str) for key in ("plugin", "pinned", "content"))
            and isinstance(one.get("files"), list)
            and isinstance(one.get("commit"), str | None)
        )

    return isinstance(value, list) and all(map(origin, value))


def _options(space: Space, path: str) -> list[Any]:
    """Return the choices as a study would write them; the base's own, and one without fields, by its name."""
    options = space.options.get(path, {})
    dimension = next(d for d in space.dimensions if d.path == path)
    choices = [(label, options.get(label, label)) for label in dimension.choices]
    return [
        label
        if isinstance(spec, Mapping) and spec.get("type") == label and (len(spec) == 1 or label == dimension.baseline)
        else spec
        for label, spec in choices
    ]


def _planned(loaded: LoadedStudy) -> int:
    """Return how many trials the design asks for at the most, so that `ablate status` need not ask it."""
    design = loaded.study.design
    return design.candidates(loaded.space.dimensions) * design.seeds


def _range(dimension: Mapping[str, Any]) -> dict[str, Any]:
    number = int if dimension["integer"] else float
    ends = {key: number(dimension[key]) for key in ("low", "high")}
    return {**ends, "log": dimension["log"], "step": dimension["step"]}


def grows(folder: Path, loaded: LoadedStudy) -> bool:
    """Return whether a study has a larger budget than its folder began with, so that what is there moves aside."""
    before = read(folder)
    return before is not None and _has_more_budget(before, loaded)


def _has_more_budget(lock: Mapping[str, Any], loaded: LoadedStudy) -> bool:
    return grow.is_larger(lock["science"]["budget"], loaded.study.budget.active())


def _source_lines(folder: Path, lock: Mapping[str, Any], loaded: LoadedStudy) -> list[str]:
    """Return lines about source that changed. Raises InputError where complete trials were measured with it."""
    now = {**{name: entry.source_hash for name, entry in loaded.used.items()}, FRAMEWORK: provenance.framework()}
    lines = source_check.check(folder, lock, now, {name: str(entry.file) for name, entry in loaded.used.items()})
    if lock.get("hashes") == provenance.SCHEME:
        then = {name: entry["source_hash"] for name, entry in lock["plugins"].items()}
        other = [name for name in now if name in then and then[name] != now[name]]
        if other:
            changes = ", ".join(f"{name} ({short(then[name])} -> {short(now[name])})" for name in other)
            lines.append(
                f"other source than at the last launch, on which no complete trial stands: {changes}; "
                "trials that were half trained with it begin anew"
            )
    return lines


def _origins(loaded: LoadedStudy) -> dict[str, list[dict[str, Any]]]:
    """Return the lock's entry of plugins that are named by a place: what each stood for, by commit and by hash."""
    return {"origins": [asdict(origin) for origin in loaded.origins]} if loaded.origins else {}


def _moved(lock: Mapping[str, Any], loaded: LoadedStudy) -> list[str]:
    """Return a line for each plugin named by a place that stands for something else than at the last launch."""
    lines, then = [], {one["plugin"]: one for one in lock.get("origins", ())}
    then |= {one["pinned"]: one for one in lock.get("origins", ())}
    for origin in loaded.origins:
        before = then.get(origin.plugin)
        if before is None:
            continue
        if before["commit"] != origin.commit:
            commits = f"commit {before['commit']}, and is now {origin.commit}"
            lines.append(f"plugin {origin.plugin} was {commits}; to keep what it was, say {before['pinned']}")
        elif before["content"] != origin.content:
            lines.append(
                f"plugin {origin.plugin} holds other files than at the last launch: "
                f"{short(before['content'])} -> {short(origin.content)}"
            )
    return lines


def _teachers(loaded: LoadedStudy) -> dict[str, list[str]]:
    """Return the lock's entry of the networks of other studies from which candidates learn, if they do."""
    found = identities(loaded)
    return {"teachers": found} if found else {}


# What of a lock says which candidates there are; it follows a study that grows.
_SPACE = ("identity", "science", "spec", "choices", "options", "ranges", "left_out", "baseline", "planned")


def _renewed(lock: Mapping[str, Any], loaded: LoadedStudy, seen: Collection[int]) -> dict[str, Any]:
    """Return the lock with today's source; the same source keeps its date. seen: seeds of which there are results."""
    then = lock["plugins"] if lock.get("hashes") == provenance.SCHEME else {}
    now = {
        name: then[name] if then.get(name, {}).get("source_hash") == entry["source_hash"] else entry
        for name, entry in plugins(loaded).items()
    }
    added = grow.growth(lock["science"], loaded.study.active())
    if added:
        fresh = make(loaded)
        folder = aside.name_of(lock["science"]["budget"]) if _has_more_budget(lock, loaded) else None
        lock = {**lock, **{key: fresh[key] for key in _SPACE}, "grown": grow.grown(lock, added, folder)}
    measured = {"during": columns_during(loaded.study.evaluation), "larger_is_better": larger_is_better(loaded.study)}
    return {
        **lock,
        "planned": _planned(loaded),
        **measured,
        "seeding": lock.get("seeding") or locked_looks(loaded.study),  # who has looked once has looked
        "analysis": locked_analysis(loaded, lock.get("analysis"), seen),
        **_teachers(loaded),
        **_origins(loaded),
        "reference": dict(loaded.study.reference or {}),
        "names": loaded.names.to_json(),
        "hashes": provenance.SCHEME,
        "plugins": {**then, **now},
    }
