"""Recorded tables: made of finished studies' folders, read as a DataFrame; `executor: replay` runs studies on them.

A tabular benchmark of architectures (Ying et al. 2019, NAS-Bench-101): what each candidate of a space reaches is
measured once, at several points of its training, and searches are then compared without training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.candidates.objectives import share_key
from ablate.candidates.vary import are_named
from ablate.errors import InputError
from ablate.io.sealed import DamagedError, read_sealed
from ablate.results.readable import READ, SCHEMA
from ablate.worker import records
from ablate.worker.recorded import REST, RecordedTable, other_way, rows_of, write

if TYPE_CHECKING:
    import pandas as pd

SHARED = ("data", "budget", "evaluate")  # of a study, which all trials of a table have in common
OF_STUDY = ("study", "question", "base", "vary", *SHARED)  # what a table says of the study

Rows = Sequence[Mapping[str, Any]]  # of one trial
Trial = tuple[str, int]  # config_hash, seed


@dataclass(frozen=True)
class Measured:
    """What a study's folder, or a recorded table, brings to a table: the study, and the rows of each trial."""

    place: Path
    study: Mapping[str, Any]
    ends: Mapping[str, Any]  # what the study strives for: its constraints and objectives
    trials: Mapping[Trial, Rows]


def record(places: Sequence[Path], file: Path) -> pd.DataFrame:
    """Write what the complete and diverged trials of studies measured into one table, and return it.

    places: folders of studies, or tables that were recorded before, with the same data, budget and evaluation; a trial
    that stands in several is taken once. Raises InputError where nothing is complete, and for what no table can hold:
    other data or points in one of them, trials that were replayed themselves, a budget of time, `evaluate.every`.
    """
    sources = [_of_table(place) if place.is_file() else _of_folder(place) for place in places]
    if not sources:
        raise InputError("give at least one study's folder", "folders")
    for source in sources:
        _check(source, sources[0].study)
    trials: dict[Trial, Rows] = {}
    for source in sources:
        trials = {**source.trials, **trials}
    if not trials:
        raise InputError("holds no trial that is complete", str(places[0]))
    in_order = [trials[trial] for trial in sorted(trials)]
    write(file, [row for rows in in_order for row in rows], _about(sources, in_order))
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


def _of_folder(folder: Path) -> Measured:
    """Read a study's folder. Raises InputError for one that cannot stand in a table."""
    try:
        lock = read_sealed(folder / "lock.json")
    except FileNotFoundError:
        raise InputError("is no study's folder: it holds no lock.json", str(folder)) from None
    except DamagedError as error:
        raise InputError(error.why, str(error.file)) from None
    if lock.get("schema", SCHEMA) > SCHEMA:
        raise InputError(f"was written by a newer ablate; {READ}", str(folder / "lock.json"))
    study = lock["spec"]
    if study["budget"]["minutes"] is not None:
        raise InputError("its budget is a time, in which every machine trains another number of images", str(folder))
    if study["evaluate"]["every"] is not None:
        raise InputError("its points are numbers of images: say evaluate.at in place of evaluate.every", str(folder))
    trials = {(one["config_hash"], one["seed"]): _rows(one) for one in _records(folder)}
    own = {key: study[key] for key in OF_STUDY if key in study}
    return Measured(folder, own, {key: study.get(key) for key in ("constraints", "objectives")}, trials)


def _of_table(file: Path) -> Measured:
    """Read a table that was recorded before."""
    table = RecordedTable(file)
    ends = {key: table.about.get(key) for key in ("constraints", "objectives")}
    return Measured(file, table.about["study"], ends, table.trials())


def _check(source: Measured, first: Mapping[str, Any]) -> None:
    """Raise InputError where a study cannot stand beside the first one."""
    if others := other_way(first, source.study):
        what = ", ".join(f"{key}: {then} -> {now}" for key, (then, now) in others.items())
        raise InputError(f"differs from the first, and one table has one of each: {what}", str(source.place))


def _records(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the records that count. Raises InputError for one that was replayed."""
    for trial in sorted(folder.glob("trials/*/")):
        record = records.read_valid(trial)
        if record is not None and "replayed" in record:
            raise InputError(f"was replayed from {record['replayed']}, not measured", str(trial))
        if record is not None:
            yield record


def _rows(record: Mapping[str, Any]) -> Rows:
    try:
        return rows_of(record)
    except InputError as error:
        raise InputError(error.message, record["trial"]) from None


def _about(sources: Sequence[Measured], trials: Sequence[Rows]) -> dict[str, Any]:
    """Return what all trials share. Raises InputError where they were trained on other data, or measured otherwise."""
    rests = [json.loads(rows[-1][REST]) for rows in trials]
    hashes = {rest.get("data_hash") for rest in rests}
    during = [row for rows in trials for row in rows if row["share"] not in (None, 1.0)]
    samples = {row["samples"] for row in during if row.get("samples") is not None}
    if len(hashes) > 1 or len(samples) > 1:
        what = "were trained on other data" if len(hashes) > 1 else f"have points of {sorted(samples)} samples"
        raise InputError(f"some trials {what} than others: one table has one of each")
    complete = [rows for rows in trials if rows[0]["state"] == records.COMPLETE]
    shares = [{row["share"] for row in rows if row["share"] < 1} for rows in complete]
    return {
        "study": {**sources[0].study, "vary": _all_choices([source.study["vary"] for source in sources])},
        **sources[0].ends,
        "points": [share_key(share) for share in sorted(set.intersection(*shares))] if shares else [],
        "samples_during": next(iter(samples), None),
        "data_hash": next(iter(hashes)),
        "candidates": len({rows[0]["config_hash"] for rows in trials}),
        "trials": len(trials),
        "seeds": sorted({rows[0]["seed"] for rows in trials}),
        "devices": sorted({str(rest.get("device")) for rest in rests}),
        "versions": rests[0].get("versions"),
    }


def _all_choices(varied: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what studies vary, together: of a path that each lists choices of, the choices of all."""
    together = dict(varied[0])
    for vary in varied[1:]:
        for path, choices in vary.items():
            before = together.setdefault(path, choices)
            if isinstance(before, list) and isinstance(choices, list):
                together[path] = [*before, *(choice for choice in choices if choice not in before)]
            elif are_named(before) and are_named(choices):
                together[path] = {**choices, **before}
    return together
