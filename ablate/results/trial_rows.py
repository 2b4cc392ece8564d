"""Read one trial's folder as plain rows, whatever state it is in: what it is, its measurements, its curve.

A trial that is still running, a file that was cut short: both are read as far as they go, and what could not be read is
named in warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.io.files import file_hash
from ablate.io.sealed import DamagedError, read_sealed
from ablate.results import frames
from ablate.results.readable import READ, SCHEMA, read_mapping
from ablate.worker import records

FILES = (  # that are read
    *(records.PACKED, records.RECORD, records.PAUSE, "failure.json", records.JOB, records.CURVE, records.ORIGIN),
    "measured",
)
_ID = re.compile(r"(?P<hash>[0-9a-f]+)-s(?P<seed>\d+)")


@dataclass
class Rows:
    """Rows of trials, of their measurements and of their curves, and what could not be read."""

    trials: list[Mapping[str, Any]] = field(default_factory=list)
    metrics: list[Mapping[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any] | None, metrics: Iterable[Mapping[str, Any]]) -> None:
        """Add a trial that was read earlier or elsewhere."""
        if row is not None:
            self.trials.append(row)
        self.metrics.extend(metrics)


def rows_of(trial: Path) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]], list[dict[str, Any]]]:
    """Read one trial's folder as plain rows: of the trial (one, or none), of its measurements, of its curve."""
    rows = Rows()
    read_trial(trial, rows)
    return rows.trials, rows.metrics, rows.curves


def read_trial(folder: Path, rows: Rows, with_curve: bool = True) -> None:
    """Read a trial; without its curve it is only looked whether that is the recorded one, where there is a record."""
    n_warnings, damage = len(rows.warnings), list[str]()
    record = _record(folder, rows.warnings, damage=damage)
    unreadable = len(rows.warnings) > n_warnings and not record  # neither running nor measured: nobody knows
    failure = {} if record or unreadable else _read_own(folder / "failure.json", rows.warnings)
    pause = {} if record or unreadable or failure else _record(folder, rows.warnings, records.PAUSE)
    record = record or pause
    job = {} if record else _read_own(folder / records.JOB, rows.warnings)
    if record and not with_curve:
        curve = []
        rows.warnings += [f"{line}; its curve is left out" for line in damage]
        _as_recorded(folder, records.CURVE, record, rows)
    else:
        curve = _curve(folder, record, rows)
    entry = record or failure or job
    if not entry and not curve and len(rows.warnings) == n_warnings:
        return  # an empty folder: nothing was asked for yet
    row = {
        **{k: v for k, v in entry.items() if k in frames.OF_TRIAL},
        **{k: v for k, v in job.items() if k in frames.IDENTITY},
        **_identity(folder.name),
    }
    if str(entry.get("config_hash")).startswith(str(row.get("config_hash"))):
        row["config_hash"] = entry["config_hash"]  # the whole of it
    row["trial"] = folder.name
    if record:
        row["state"] = record["state"]
    elif unreadable:
        row["state"] = "unreadable"
    elif failure:
        row["state"] = "failed"
    else:
        row["state"] = "running" if job or len(rows.warnings) == n_warnings else "unreadable"
    if not record and curve:
        row["images"] = curve[-1].get("images")
    if (folder / records.ORIGIN).is_file():
        row["origin"] = _read_own(folder / records.ORIGIN, rows.warnings).get("from")
    rows.trials.append(row)
    rows.curves += curve
    times = {**_mapping_at(record, "train_seconds_at"), str(record.get("images")): record.get("train_seconds")}
    _read_metrics(folder / (records.PAUSE if pause else records.RECORD), record, folder.name, rows, times)
    rows.warnings.extend(
        f"trial {folder.name}: its quality after {images} images was not measured: {why}"
        for images, why in _mapping_at(record, "unmeasured").items()
    )
    for file in (
        records.measured(folder) if record and not pause else ()
    ):  # by `ablate evaluate`; of what, the record alone tells
        measured = _measured(file, folder.name, rows.warnings)
        rows.warnings.extend(_other_origin(file, measured, record))
        _read_metrics(file, measured, folder.name, rows, times)


def _curve(folder: Path, record: Mapping[str, Any], rows: Rows) -> list[dict[str, Any]]:
    """Read the curve of a trial, where it is the recorded one."""
    if records.SECOND not in record and not _as_recorded(folder, records.CURVE, record, rows):
        return []
    try:
        return [{**point, "trial": folder.name} for point in records.content(folder, records.CURVE)]
    except FileNotFoundError:
        return []
    except DamagedError as error:
        rows.warnings.append(str(error))
        return []


def curve_columns(folder: Path, rows: Rows) -> Mapping[str, list[Any]]:
    """Read the same by columns; {} without one."""
    packed_alone = (folder / records.PACKED).exists() and not (folder / records.RECORD).exists()
    record = {} if packed_alone else _record(folder, []) or _record(folder, [], records.PAUSE)
    if not _as_recorded(folder, records.CURVE, record, rows):
        return {}
    try:
        return records.curve_columns(folder)
    except FileNotFoundError:
        return {}
    except DamagedError as error:
        rows.warnings.append(str(error))
        return {}


def _record(
    folder: Path, warnings: list[str], name: str = records.RECORD, damage: list[str] | None = None
) -> dict[str, Any]:
    """Read the trial's record; {} without one, and, with a warning, where it is damaged."""
    try:
        record: Mapping[str, Any] = records.read(folder, name=name, damage=damage) or {}
        data = dict(record)
    except DamagedError as error:
        warnings.append(f"{error}; it does not count, and `ablate run` measures the trial again")
        return {}
    if data.get("schema", SCHEMA) > SCHEMA:
        warnings.append(f"{folder / name}: schema {data['schema']} was written by a newer ablate; {READ}")
    return data


def _read_own(file: Path, warnings: list[str]) -> dict[str, Any]:
    """Read a JSON object of the trial; {}, with a warning, where it is damaged or of another trial."""
    data = read_mapping(file, warnings)
    if data.get("trial", file.parent.name) != file.parent.name:
        warnings.append(f"{file}: is of another trial, {data['trial']}; it does not count")
        return {}
    return data


def _measured(file: Path, trial: str, warnings: list[str]) -> Mapping[str, Any]:
    """Read what `ablate evaluate` measured; {}, with a warning, where the file is damaged or of another trial."""
    try:
        data = read_sealed(file)
    except (DamagedError, FileNotFoundError) as error:
        warnings.append(f"{error}; it does not count, and `ablate evaluate` measures it again")
        return {}
    if data.get("trial", trial) != trial:
        warnings.append(f"{file}: was measured of another trial, {data['trial']}; it does not count")
        return {}
    return data


def _other_origin(file: Path, measured: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """Return a warning where a trial was measured again with other source than it was trained with; else []."""
    now, then = _mapping_at(measured, "sources"), _mapping_at(record, "sources")
    versions, before = _mapping_at(measured, "versions"), _mapping_at(record, "versions")
    comparable = bool(now and then) and measured.get("hashes") == record.get("hashes")
    changed = [name for name in then if comparable and name in now and now[name] != then[name]]
    if versions and before and versions.get("ablate") != before.get("ablate"):
        changed = [f"ablate {before.get('ablate')} -> {versions.get('ablate')}", *(o for o in changed if o != "ablate")]
    if not changed:
        return []
    return [f"{file}: was measured again with other source than the trial: {', '.join(map(str, changed))}"]


def _as_recorded(folder: Path, name: str, record: Mapping[str, Any], rows: Rows) -> bool:
    """Return whether a file has the hash in the trial's record (true without one); add a warning where it has not."""
    hashes = record.get("files")
    if not isinstance(hashes, Mapping) or name not in hashes or not (folder / name).is_file():
        return True
    unchanged = bool(file_hash(folder / name) == hashes[name])
    if not unchanged:
        rows.warnings.append(f"{folder / name}: is not the one that was recorded with the trial; it is left out")
    return unchanged


def _read_metrics(
    file: Path, document: Mapping[str, Any], trial: str, rows: Rows, train_seconds: Mapping[str, Any]
) -> None:
    """Add the measurements of a file. train_seconds: of the training until a point of it, by images."""
    measured = document.get("metrics")
    for point in measured if isinstance(measured, list) else []:
        if isinstance(point, Mapping) and "metric" in point:
            own = {key: value for key, value in point.items() if key in frames.METRIC}
            rows.metrics.append({**own, "trial": trial, "train_seconds": train_seconds.get(str(point.get("images")))})
        else:
            rows.warnings.append(f"{file}: a row of 'metrics' names no metric")


def _identity(name: str) -> dict[str, Any]:
    """Parse the name of a trial's folder: the start of its hash, and its seed."""
    match = _ID.fullmatch(name)
    return {"config_hash": match["hash"], "seed": int(match["seed"])} if match else {}


def _mapping_at(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping under a key; {} where there is none."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}
