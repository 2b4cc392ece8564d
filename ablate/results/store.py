"""Read the trials in a study's folder, whatever state it is in, and write its tables.

A trial that is still running, a file that was cut short, a folder of which only the tables were
committed: all are read as far as they go, and what could not be read is named, never dropped.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.io import packed
from ablate.io.files import file_hash, write_json, write_with
from ablate.io.sealed import DamagedError, read_sealed, sealed
from ablate.results import frames, index, probes, readable
from ablate.results.identity import distinct
from ablate.results.measurements import DECIDES
from ablate.results.readable import READ, SCHEMA, read_mapping
from ablate.worker import records

TABLES = ("trials.parquet", "metrics.parquet", probes.TABLE)
_FILES = (  # that are read
    *(records.PACKED, records.RECORD, records.PAUSE, "failure.json", records.JOB, records.CURVE, records.ORIGIN),
    "measured",
)
_READING = (sys.modules[__name__], records, packed, readable, frames)  # the code that makes rows of files
_ID = re.compile(r"(?P<hash>[0-9a-f]+)-s(?P<seed>\d+)")


@dataclass(frozen=True)
class Stored:
    """A study's folder as it stands: three tables, and what could not be read."""

    trials: pd.DataFrame  # a row a trial; the columns of `frames.TRIAL`, then c.*, m.*, then others
    metrics: pd.DataFrame  # long: a row a measurement
    curves: pd.DataFrame  # long: a row a logged point of training
    warnings: tuple[str, ...] = ()
    unread: tuple[Path, ...] = ()  # folders of trials whose curves are not in `curves`: `curves_of` reads them


@dataclass
class _Rows:
    trials: list[Mapping[str, Any]] = field(default_factory=list)
    metrics: list[Mapping[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any] | None, metrics: Iterable[Mapping[str, Any]]) -> None:
        """Add a trial that was read earlier or elsewhere."""
        if row is not None:
            self.trials.append(row)
        self.metrics.extend(metrics)


def is_study(folder: Path) -> bool:
    """Return whether the folder holds a study, or the tables of one."""
    return any((folder / name).exists() for name in ("lock.json", "study.yaml", "trials", "trials.parquet"))


def read(folder: Path) -> Stored:
    """Read every trial below `folder`, or the committed tables where there is no trial.

    The trials come in the order of their ids. Nothing is raised for a damaged file: it is named in
    `warnings`, and its trial is kept with what else is known of it.
    """
    with without_collection():
        return _read(folder)


@contextmanager
def without_collection() -> Iterator[None]:
    """Hold Python's search for cycles: among the millions of rows that are built there are none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read(folder: Path) -> Stored:
    folders = _trial_folders(folder)
    if len(folders) >= index.FEWEST:
        return _read_many(folder, folders)
    rows = _Rows()
    for trial in folders:
        _read_trial(trial, rows)
    return _stored(folder, rows, ())


def _stored(folder: Path, rows: _Rows, unread: Sequence[Path]) -> Stored:
    """Make the tables of what was read; the committed ones where that is no trial."""
    if not rows.trials and (folder / "trials.parquet").exists():
        return _read_tables(folder, rows.warnings)
    metrics, doubtful = distinct(frames.metrics(rows.metrics), DECIDES)
    rows.warnings.extend(doubtful)
    trials = frames.trials(rows.trials, metrics)
    return Stored(trials, metrics, frames.curves(rows.curves), tuple(rows.warnings), tuple(unread))


def rows_of(trial: Path) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]], list[dict[str, Any]]]:
    """Read one trial's folder as plain rows: of the trial (one, or none), of its measurements, of its curve."""
    rows = _Rows()
    _read_trial(trial, rows)
    return rows.trials, rows.metrics, rows.curves


def curves_of(stored: Stored, warnings: list[str], of: Collection[str] | None = None) -> pd.DataFrame:
    """Return the training curves, and read those that were left aside because there are many.

    of: of these trials alone. Where one cannot be read, a line goes into `warnings`.
    """
    if not stored.unread:
        return stored.curves if of is None else stored.curves[stored.curves["trial"].isin(list(of))]
    rows, columns, count = _Rows(), dict[str, list[Any]](), 0
    for folder in stored.unread if of is None else (folder for folder in stored.unread if folder.name in of):
        own = _curve_columns(folder, rows)
        more = len(next(iter(own.values()), ()))
        for name, values in {**own, "trial": [folder.name] * more}.items():
            if name not in columns:
                columns[name] = [None] * count
            columns[name].extend(values)
        count += more
        for values in columns.values():
            values.extend([None] * (count - len(values)))
    warnings.extend(line for line in rows.warnings if line not in stored.warnings and line not in warnings)
    return frames.curves_by_column(columns)


def write_tables(folder: Path | str) -> None:
    """Write trials.parquet and metrics.parquet from the trials' own files, each atomically, and their checksums.

    A folder of which only the tables are left keeps them as they are.
    """
    folder = Path(folder)
    if not _trial_folders(folder) and (folder / "trials.parquet").exists():
        return
    stored = read(folder)
    write_with(folder / "trials.parquet", lambda path: stored.trials.to_parquet(path, index=False))
    write_with(folder / "metrics.parquet", lambda path: stored.metrics.to_parquet(path, index=False))
    probes.write_table(folder, probes.observed(stored.trials))
    sums = {"schema": SCHEMA, "files": records.hashes(folder, TABLES)}
    write_json(folder / probes.SUMS, sealed(sums), durable=False)


def _trial_folders(folder: Path) -> list[Path]:
    trials = folder / "trials"
    if not trials.is_dir():
        return []
    with os.scandir(trials) as entries:
        return [trials / name for name in sorted(entry.name for entry in entries if entry.is_dir())]


def _read_many(folder: Path, trials: Sequence[Path]) -> Stored:
    """Read trials without their curves: those whose files are as the folder's index knows them from there.

    Where no file has changed, that are the tables as they were made. The index is written anew where a trial was read.
    """
    reader = index.reader_of(str(module.__file__) for module in _READING)
    known = index.read(folder, reader)
    states = {
        trial.name: state
        for trial in trials
        if (state := known.states.get(trial.name)) is not None and index.unchanged(trial, state)
    }
    whole = len(states) == len(trials) == len(known.states)
    if whole and (tables := known.tables()) is not None:
        return Stored(*tables, frames.curves([]), (), tuple(trials))
    rows, before, entries = _Rows(), known.rows(), dict[str, index.Rows]()
    for trial in trials:
        one = before.get(trial.name) if trial.name in states else None
        if one is None:
            now, state, own = index.now(), index.state_of(trial, _FILES), _Rows()
            _read_trial(trial, own, with_curve=False)
            rows.warnings += own.warnings
            one = index.Rows(own.trials[0] if own.trials else None, own.metrics)
            states.pop(trial.name, None)
            if not own.warnings and index.settled(state, now):
                states[trial.name] = state
        rows.add(one.row, one.metrics)
        if trial.name in states:
            entries[trial.name] = one
    stored = _stored(folder, rows, trials)
    sound = len(states) == len(trials) and rows.trials and not stored.warnings
    if states != known.states or entries.keys() != before.keys() or (whole and sound):
        index.write(folder, states, entries, (stored.trials, stored.metrics) if sound else None, reader)
    return stored


def _read_trial(folder: Path, rows: _Rows, with_curve: bool = True) -> None:
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


def _curve(folder: Path, record: Mapping[str, Any], rows: _Rows) -> list[dict[str, Any]]:
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


def _curve_columns(folder: Path, rows: _Rows) -> Mapping[str, list[Any]]:
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


def _as_recorded(folder: Path, name: str, record: Mapping[str, Any], rows: _Rows) -> bool:
    """Return whether a file has the hash in the trial's record (true without one); add a warning where it has not."""
    hashes = record.get("files")
    if not isinstance(hashes, Mapping) or name not in hashes or not (folder / name).is_file():
        return True
    unchanged = bool(file_hash(folder / name) == hashes[name])
    if not unchanged:
        rows.warnings.append(f"{folder / name}: is not the one that was recorded with the trial; it is left out")
    return unchanged


def _read_metrics(
    file: Path, document: Mapping[str, Any], trial: str, rows: _Rows, train_seconds: Mapping[str, Any]
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


def _read_tables(folder: Path, warnings: list[str]) -> Stored:
    tables = {}
    for name, empty in (("trials", frames.trials([], frames.metrics([]))), ("metrics", frames.metrics([]))):
        path = folder / f"{name}.parquet"
        try:
            tables[name] = frames.numbers(pd.read_parquet(path) if probes.as_written(path, warnings) else empty)
        except FileNotFoundError:
            warnings.append(f"{path}: is not there")
            tables[name] = empty
        except (OSError, ValueError, TypeError) as error:  # pyarrow's errors are ValueErrors
            warnings.append(f"{path}: cannot be read ({error})")
            tables[name] = empty
        missing = [c for c in empty.columns if c not in tables[name].columns]
        if missing:
            if damaged := [c for c in missing if c not in frames.ADDED]:
                warnings.append(f"{path}: has no column {', '.join(damaged)}")
            tables[name] = tables[name].reindex(columns=[*tables[name].columns, *missing])
    metrics, doubtful = distinct(tables["metrics"], DECIDES)
    warnings.extend(doubtful)
    return Stored(tables["trials"], metrics, frames.curves([]), tuple(warnings))


def _mapping_at(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping under a key; {} where there is none."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}
