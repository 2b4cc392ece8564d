"""Recorded tables: made of finished studies' folders, read as a DataFrame; `executor: replay` runs studies on them.

A tabular benchmark of architectures (Ying et al. 2019, NAS-Bench-101): what each candidate of a space reaches is
measured once, at several points of its training, and searches are then compared without training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import InputError
from ablate.io.sealed import DamagedError, read_sealed
from ablate.results.readable import READ, SCHEMA
from ablate.worker import records
from ablate.worker.recorded import REST, RecordedTable, rows_of, write

if TYPE_CHECKING:
    import pandas as pd

SHARED = ("data", "budget", "evaluate")  # of a study, which all trials of a table have in common


def record(folders: Sequence[Path], file: Path) -> pd.DataFrame:
    """Write what the complete and diverged trials of studies measured into one table, and return it.

    folders: of studies with the same data, budget and evaluation; a trial that stands in several is taken once. Raises
    InputError where nothing is complete, and for what no table can hold: other data or points in one of them, trials
    that were replayed themselves, a budget of time, `evaluate.every`.
    """
    locks = [_lock(folder) for folder in folders]
    if not locks:
        raise InputError("give at least one study's folder", "folders")
    study = locks[0]["spec"]
    for folder, lock in zip(folders, locks, strict=True):
        _check(folder, lock["spec"], study)
    found: dict[str, Mapping[str, Any]] = {}
    for folder in folders:
        for one in _records(folder):
            found.setdefault(one["trial"], one)
    if not found:
        raise InputError("holds no trial that is complete", str(folders[0]))
    trials = sorted(found.values(), key=lambda one: (one["config_hash"], one["seed"]))
    rows = [row for one in trials for row in _rows(one)]
    write(file, rows, _about(study, trials, rows))
    return recorded(file)


def recorded(file: Path) -> pd.DataFrame:
    """Read a recorded table: a row a measurement; `attrs` has what its trials share. Raises InputError without one.

    Of each trial: `config_hash`, `seed`, `state`, `params`, `gflops`, `macs`, `sample_gflops`, its choices `c.<path>`.
    Of each point: `share` of the budget (missing where the training diverged), `images`, the training `loss`, and the
    seconds of training (`train_seconds`) and of measuring (`evaluate_seconds`) until then. The other columns are those
    of `Results.metrics`. At the end, share 1, a value on the study's full number of samples comes first.
    """
    table = RecordedTable(file)
    frame = table.frame()
    frame.attrs.update(table.about)
    return frame.drop(columns=REST)


def _lock(folder: Path) -> dict[str, Any]:
    try:
        lock = read_sealed(folder / "lock.json")
    except FileNotFoundError:
        raise InputError("is no study's folder: it holds no lock.json", str(folder)) from None
    except DamagedError as error:
        raise InputError(error.why, str(error.file)) from None
    if lock.get("schema", SCHEMA) > SCHEMA:
        raise InputError(f"was written by a newer ablate; {READ}", str(folder / "lock.json"))
    return lock


def _check(folder: Path, study: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """Raise InputError where a study cannot stand in a table, or not beside the first one."""
    if study["budget"]["minutes"] is not None:
        raise InputError("its budget is a time, in which every machine trains another number of images", str(folder))
    if study["evaluate"]["every"] is not None:
        raise InputError("its points are numbers of images: say evaluate.at in place of evaluate.every", str(folder))
    others = [key for key in SHARED if study[key] != first[key]]
    if others:
        what = ", ".join(f"{key}: {first[key]} -> {study[key]}" for key in others)
        raise InputError(f"differs from the first folder, and one table has one of each: {what}", str(folder))


def _records(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the records that count. Raises InputError for one that was replayed."""
    for trial in sorted(folder.glob("trials/*/")):
        record = records.read_valid(trial)
        if record is not None and "replayed" in record:
            raise InputError(f"was replayed from {record['replayed']}, not measured", str(trial))
        if record is not None:
            yield record


def _rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        return rows_of(record)
    except InputError as error:
        raise InputError(error.message, record["trial"]) from None


def _about(
    study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what all trials share. Raises InputError where they were trained on other data, or measured otherwise."""
    hashes = {one.get("data_hash") for one in trials}
    samples = {row["samples"] for row in rows if row["share"] not in (None, 1.0) and row.get("samples") is not None}
    if len(hashes) > 1 or len(samples) > 1:
        what = "were trained on other data" if len(hashes) > 1 else f"have points of {sorted(samples)} samples"
        raise InputError(f"some trials {what} than others: one table has one of each")
    complete = [set(one.get("shares", {})) for one in trials if one["state"] == records.COMPLETE]
    points = set.intersection(*complete) if complete else set()
    return {
        "study": {key: study[key] for key in ("study", "question", "base", "vary", *SHARED) if key in study},
        "constraints": study.get("constraints"),
        "objectives": study.get("objectives"),
        "points": sorted(points, key=float),
        "samples_during": next(iter(samples), None),
        "data_hash": next(iter(hashes)),
        "candidates": len({one["config_hash"] for one in trials}),
        "trials": len(trials),
        "seeds": sorted({one["seed"] for one in trials}),
        "devices": sorted({str(one.get("device")) for one in trials}),
        "versions": trials[0].get("versions"),
    }
