"""A recorded table: what trials measured at points of their training, in one parquet file, and their records again.

A row is a measurement: one metric of one trial at one point of its training. The rows of a trial stand together, its
points ascending, its end last; a point at which nothing was measured has a row without a metric. The last row holds
what else is in the trial's record, as JSON. What trials share (the study, the points) is JSON in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ablate.candidates.evaluation import samples_during
from ablate.candidates.objectives import share_key
from ablate.errors import InputError
from ablate.io.files import file_hash, write_with
from ablate.kinds.executor import Job
from ablate.worker import records
from ablate.worker.messages import Record

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA = 1
HOST = "replay"  # in the records of replayed trials, in place of a machine's name
DIGITS = 12  # digits of a table's hash that a record has
_KEY = b"ablate"  # of the file's metadata
_JOB = ("config_hash", "seed", "params", "gflops", "macs", "sample_gflops")  # a replayed record has those of its job
_POINT = ("images", "loss", "train_seconds", "evaluate_seconds")
FIRST = (*_JOB[:2], "state", *_JOB[2:], "share", *_POINT, "unmeasured")  # columns, before choices and metrics
REST = "record"  # the column of JSON
_OWN = (  # of the folder in which a trial was recorded, or rebuilt from the columns
    *("schema", "trial", "choices", "matched", "metrics", "shares", "train_seconds_at", "unmeasured", "seconds"),
    *("overhead_seconds", "ended", "host", "files", "beside", "checksum"),
)
_OF_THE_END = ("peak_memory_bytes", "noise", "variety", "probes", "companion_loss", "skipped_steps")


def rows_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a complete or diverged trial's record.

    Raises InputError where it does not say how long its points took to be measured.
    """
    trial = {name: record.get(name) for name in (*_JOB, "state")}
    trial |= {f"c.{path}": label for path, label in record["choices"].items()}
    rows: list[dict[str, Any]] = []
    for share, point in sorted(record.get("shares", {}).items(), key=lambda one: float(one[0])):
        if "evaluate_seconds" not in point:
            raise InputError(
                "was measured by an older version, which did not note how long a point took to be measured"
            )
        rows += _point_rows({**trial, "share": float(share)}, point, record)
    ended = record["state"] == records.COMPLETE
    rows += _point_rows({**trial, "share": 1.0 if ended else None}, record, record if ended else {})
    rest = {key: value for key, value in record.items() if key not in (*_OWN, *_JOB, *_POINT, "state")}
    rows[-1][REST] = json.dumps(rest, sort_keys=True, allow_nan=False)
    return rows


def _point_rows(trial: Mapping[str, Any], point: Mapping[str, Any], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a point of a training. record: where its measurements are; {} of one that has none."""
    here = {**trial, **{name: point.get(name) for name in _POINT}}
    measured = [row for row in record.get("metrics", ()) if row.get("images") == point["images"]]
    why = record.get("unmeasured", {}).get(str(point["images"]))
    return [{**here, **row} for row in measured] or [{**here, "unmeasured": why}]


def write(file: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """Write a table, atomically. about: what all trials share, as JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys((*FIRST, *(name for row in rows for name in row if name != REST), REST))
    columns = {name: _column([row.get(name) for row in rows]) for name in _in_order(names)}
    metadata = {_KEY: json.dumps({"schema": SCHEMA, **about}, allow_nan=False).encode()}
    table = pa.table(columns).replace_schema_metadata(metadata)
    write_with(file, lambda path: pq.write_table(table, path, compression="zstd"))


def _in_order(names: Iterable[str]) -> list[str]:
    """Return the columns in their order: the trial and its point, its choices, the measurement, the rest."""
    return sorted(names, key=lambda name: (name == REST, name not in FIRST and not name.startswith("c.")))


def _column(values: list[Any]) -> list[Any]:
    """Return a column's values; choices of several types (a name, a number) become JSON."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1:
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


class RecordedTable:
    """A recorded table. Raises InputError where the file is none."""

    def __init__(self, file: Path) -> None:
        import pyarrow.parquet as pq

        self.file = file
        try:
            self._table: pa.Table = pq.read_table(file)
            self.about: Mapping[str, Any] = json.loads(self._table.schema.metadata[_KEY])
            self._places = _places(self._table)
        except FileNotFoundError:
            raise InputError("there is no such recorded table", str(file)) from None
        except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's errors are ValueErrors
            raise InputError(f"is no recorded table (ablate.record makes them): {error}", str(file)) from None
        if self.about.get("schema") != SCHEMA:
            raise InputError(
                f"was recorded by another version of ablate (schema {self.about.get('schema')})", str(file)
            )

    @cached_property
    def name(self) -> str:
        """Its file's name and the start of its hash, as the records of replayed trials have it."""
        return f"{self.file.name} ({file_hash(self.file)[:DIGITS]})"

    @cached_property
    def _seeds(self) -> dict[str, list[int]]:
        """The seeds of each candidate, by its hash."""
        seeds: dict[str, list[int]] = {}
        for config_hash, seed in sorted(self._places):
            seeds.setdefault(config_hash, []).append(seed)
        return seeds

    def __len__(self) -> int:
        return len(self._places)

    def frame(self) -> pd.DataFrame:
        """Return the table itself."""
        frame: pd.DataFrame = self._table.to_pandas()
        return frame

    def trials(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """Return the rows of each trial, by its candidate's hash and its seed."""
        rows = self._table.to_pylist()
        return {trial: rows[first : first + count] for trial, (first, count) in self._places.items()}

    def refuse(self, job: Job) -> str | None:
        """Return why no trial of a job's study can be in the table; None where some may be."""
        study, evaluation = self.about["study"], job["evaluation"]
        if evaluation["every"] is not None:
            return "its points are shares of the budget: say evaluate.at in place of evaluate.every"
        if other := other_way(study, {"data": job["data"], "budget": job["budget"], "evaluate": evaluation}):
            lines = [f"{name} is {now} here and {before} there" for name, (before, now) in other.items()]
            return f"it was recorded in another way: {'; '.join(lines)}"
        hashes = (self.about.get("data_hash"), job.get("data_hash"))
        if None not in hashes and hashes[0] != hashes[1]:
            return f"it was recorded on other data: {str(hashes[1])[:DIGITS]} here and {str(hashes[0])[:DIGITS]} there"
        shares = [share for share in evaluation["at"] if share < 1]
        missing = [key for key in map(share_key, shares) if key not in self.about["points"]]
        if missing:
            known = ", ".join(self.about["points"]) or "none"
            return f"it has nothing at {', '.join(missing)} of the budget; its points: {known}"
        samples = samples_during(evaluation["samples"], evaluation["at_samples"])
        if evaluation["at"] and samples != self.about["samples_during"]:
            then_samples = self.about["samples_during"]
            return f"its points are measured on {then_samples} samples (evaluate.at_samples), not on {samples}"
        return None

    def rows(self, job: Job) -> list[dict[str, Any]]:
        """Return the rows of a job's trial. Raises InputError where it was not recorded."""
        place = self._places.get((job["config_hash"], job["seed"]))
        if place is None:
            seeds = self._seeds.get(job["config_hash"])
            what = f"only with seed {', '.join(map(str, seeds))}, not {job['seed']}" if seeds else "not in any seed"
            study = self.about["study"]["study"]
            raise InputError(
                f"this candidate was recorded {what}, among {len(self)} trials of {study!r}", self.file.name
            )
        rows: list[dict[str, Any]] = self._table.slice(*place).to_pylist()
        return rows

    def record(self, job: Job) -> Record:
        """Return the record that a job's trial has by the table, complete, diverged or, at the job's `until`, paused.

        Its seconds are those of training, and of measuring at the points that the job asks for. Raises InputError where
        the trial, or a point of it, was not recorded.
        """
        rows, until = self.rows(job), job.get("until")
        shares = [share for share in job["evaluation"]["at"] if share < 1 and (until is None or share <= until)]
        pause = None if until is None else share_key(until)
        return _record(rows, job, list(map(share_key, shares)), pause, self.name)


def _record(rows: Sequence[Mapping[str, Any]], job: Job, asked: Sequence[str], until: str | None, table: str) -> Record:
    rest: dict[str, Any] = json.loads(rows[-1][REST])
    state = rows[-1]["state"]
    points: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        points.setdefault("end" if row["share"] in (None, 1.0) else share_key(row["share"]), []).append(row)
    end = points.pop("end")
    missing = [share for share in asked if share not in points]
    if missing and state == records.COMPLETE:
        raise InputError(f"this trial has nothing at {', '.join(missing)} of the budget", table)
    reached = [share for share in asked if share in points]
    took = _evaluate_seconds([*points.items(), ("end", end)])
    paused = until in reached
    last = points[reached[-1]][0] if paused else end[0]
    counted = [*reached, *([] if paused else ["end"])]
    measured = [] if paused else [row for row in end if asked or row["samples"] == job["evaluation"]["samples"]]
    measured += [row for share in reached for row in points[share]]
    if paused:
        rest = {key: value for key, value in rest.items() if key not in _OF_THE_END} | {"peak_memory_bytes": None}
    train, evaluate = last["train_seconds"], sum(took[share] for share in counted)
    record = {
        "schema": 1,
        **{key: job[key] for key in ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")},
        **{key: job[key] for key in ("matched", "sample_gflops") if key in job},
        **rest,
        "state": records.PAUSED if paused else state,
        "images": last["images"],
        "loss": last["loss"],
        "seconds": train + evaluate,
        "train_seconds": train,
        "evaluate_seconds": evaluate,
        "overhead_seconds": 0.0,
        "host": HOST,
        "metrics": [_measurement(row) for row in measured if row["metric"] is not None],
        **_by_images(points, reached),
        "files": {},
        "replayed": table,
    }
    return cast(Record, record)


def _by_images(points: Mapping[str, Sequence[Mapping[str, Any]]], reached: Sequence[str]) -> dict[str, Any]:
    """Return the keys of a record about the points that were reached, as far as there are some."""
    firsts = {share: points[share][0] for share in reached}
    keys = {
        "train_seconds_at": {str(row["images"]): row["train_seconds"] for row in firsts.values()},
        "unmeasured": {str(row["images"]): row["unmeasured"] for row in firsts.values() if row["unmeasured"]},
        "shares": {share: {name: row[name] for name in _POINT} for share, row in firsts.items()},
    }
    return {key: value for key, value in keys.items() if value}


def _evaluate_seconds(points: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> dict[str, float]:
    """Return the seconds that measuring took at each point by itself; in the table they add up."""
    took, before = {}, 0.0
    for share, rows in points:
        took[share] = rows[0]["evaluate_seconds"] - before
        before = rows[0]["evaluate_seconds"]
    return took


def _measurement(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a record's metrics."""
    own = {*FIRST, REST} - {"images", "sample_gflops"}
    return {name: value for name, value in row.items() if name not in own and not name.startswith("c.")}


def _places(table: pa.Table) -> dict[tuple[str, int], tuple[int, int]]:
    """Return {(config_hash, seed): (first row, number of rows)}. Raises ValueError where a trial's rows are apart."""
    hashes, seeds = table["config_hash"].to_pylist(), table["seed"].to_pylist()
    places: dict[tuple[str, int], tuple[int, int]] = {}
    first = 0
    for i in range(1, len(hashes) + 1):
        if i == len(hashes) or (hashes[i], seeds[i]) != (hashes[first], seeds[first]):
            if (hashes[first], seeds[first]) in places:
                raise ValueError(f"rows of trial {hashes[first][:DIGITS]}-s{seeds[first]} do not stand together")
            places[hashes[first], seeds[first]] = (first, i - first)
            first = i
    return places


def other_way(study: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {what: (of one, of the other)} in which two studies' data, budget and evaluation differ.

    The data by their type, as hashes of the content tell the rest. A field that one of the two was written without, by
    a version that did not have it, makes no difference.
    """
    ways = [
        {
            "data": of["data"]["type"],
            "budget": _given(of["budget"]),
            "evaluate.metrics": of["evaluate"]["metrics"],
            "evaluate.samples": of["evaluate"]["samples"],
            "evaluate.reference": of["evaluate"]["reference"],
            "evaluate.labels": of["evaluate"].get("labels", "balanced"),
            "evaluate.autoencoder": of["evaluate"].get("autoencoder"),
        }
        for of in (study, other)
    ]
    one, two = ways
    return {what: (one[what], two[what]) for what in one if not _alike(one[what], two[what])}


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_alike(one[key], other[key]) for key in one.keys() & other.keys())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)


def _given(budget: Mapping[str, Any]) -> dict[str, Any]:
    return {unit: value for unit, value in budget.items() if value is not None}
