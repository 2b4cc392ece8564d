"""Read the trials in a study's folder, whatever state it is in, and write its tables.

A trial that is still running, a file that was cut short, a folder of which only the tables were
committed: all are read as far as they go, and what could not be read is named, never dropped.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.io import packed
from ablate.io.files import write_json, write_with
from ablate.io.sealed import sealed
from ablate.results import frames, index, probes, readable, trial_rows
from ablate.results.identity import distinct
from ablate.results.measurements import DECIDES
from ablate.results.readable import SCHEMA
from ablate.results.trial_rows import Rows
from ablate.worker import records

TABLES = ("trials.parquet", "metrics.parquet", probes.TABLE)
_READING = (sys.modules[__name__], trial_rows, records, packed, readable, frames)  # the code that makes rows of files


@dataclass(frozen=True)
class Stored:
    """A study's folder as it stands: three tables, and what could not be read."""

    trials: pd.DataFrame  # a row a trial; the columns of `frames.TRIAL`, then c.*, m.*, then others
    metrics: pd.DataFrame  # long: a row a measurement
    curves: pd.DataFrame  # long: a row a logged point of training
    warnings: tuple[str, ...] = ()
    unread: tuple[Path, ...] = ()  # folders of trials whose curves are not in `curves`: `curves_of` reads them


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
    rows = Rows()
    for trial in folders:
        trial_rows.read_trial(trial, rows)
    return _stored(folder, rows, ())


def _stored(folder: Path, rows: Rows, unread: Sequence[Path]) -> Stored:
    """Make the tables of what was read; the committed ones where that is no trial."""
    if not rows.trials and (folder / "trials.parquet").exists():
        return _read_tables(folder, rows.warnings)
    metrics, doubtful = distinct(frames.metrics(rows.metrics), DECIDES)
    rows.warnings.extend(doubtful)
    trials = frames.trials(rows.trials, metrics)
    return Stored(trials, metrics, frames.curves(rows.curves), tuple(rows.warnings), tuple(unread))


def curves_of(stored: Stored, warnings: list[str], of: Collection[str] | None = None) -> pd.DataFrame:
    """Return the training curves, and read those that were left aside because there are many.

    of: of these trials alone. Where one cannot be read, a line goes into `warnings`.
    """
    if not stored.unread:
        return stored.curves if of is None else stored.curves[stored.curves["trial"].isin(list(of))]
    rows, columns, count = Rows(), dict[str, list[Any]](), 0
    for folder in stored.unread if of is None else (folder for folder in stored.unread if folder.name in of):
        own = trial_rows.curve_columns(folder, rows)
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
    states = {trial.name: known.states[trial.name] for trial in trials if known.knows(trial)}
    whole = len(states) == len(trials) == len(known.states)
    if whole and (tables := known.tables()) is not None:
        return Stored(*tables, frames.curves([]), (), tuple(trials))
    rows, before, entries = Rows(), known.rows(), dict[str, index.Rows]()
    contents = {name: content for name, content in known.contents.items() if name in states}
    for trial in trials:
        one = before.get(trial.name) if trial.name in states else None
        if one is None:
            now, state, own = index.now(), index.state_of(trial, trial_rows.FILES), Rows()
            content = None if index.settled(state, now) else index.content_of(trial, state)
            trial_rows.read_trial(trial, own, with_curve=False)
            rows.warnings += own.warnings
            one = index.Rows(own.trials[0] if own.trials else None, own.metrics)
            states.pop(trial.name, None)
            contents.pop(trial.name, None)
            if not own.warnings and (content is None or content == index.content_of(trial, state)):
                states[trial.name] = state
                contents |= {} if content is None else {trial.name: content}
        rows.add(one.row, one.metrics)
        if trial.name in states:
            entries[trial.name] = one
    stored = _stored(folder, rows, trials)
    sound = len(states) == len(trials) and rows.trials and not stored.warnings
    if states != known.states or entries.keys() != before.keys() or (whole and sound):
        index.write(folder, states, contents, entries, (stored.trials, stored.metrics) if sound else None, reader)
    return stored


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
