"""The record of a trial: the one place that writes it, reads it, and checks whether it counts.

A record is the JSON of `record.json` in a trial's folder. It carries the SHA-256 of its own canonical JSON
(`checksum`), and counts only where it is whole: that sum is right, every key that is relied on is there and
of its type, and trial, configuration and seed are those of the folder that it lies in. What is not whole is
an absent record: it is kept aside, and the trial is measured again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from ablate.io.files import file_hash, write_json
from ablate.io.sealed import ASIDE, CHECKSUM, DamagedError, read_sealed, sealed, set_aside
from ablate.kinds.executor import Status
from ablate.worker.messages import Record

RECORD = "record.json"
PAUSE = "paused.json"  # of a trial that a fidelity has paused: what its record would be, as far as it has come
ORIGIN = "origin.json"  # of a trial that was taken from another study's folder: which that was
BESIDE = ("curve.json", "probes.json")  # written with a record, whatever it says of files
COMPLETE, DIVERGED, PAUSED = "complete", "diverged", "paused"
STATES = (COMPLETE, DIVERGED)
STATUS: Mapping[str, Status] = {COMPLETE: "done", DIVERGED: "diverged", PAUSED: "paused"}  # of the report, by state


def file_of(record: Mapping[str, Any]) -> str:
    """Return the name of the file that a record stands in."""
    return PAUSE if record["state"] == PAUSED else RECORD


def write(folder: Path, record: Record) -> Record:
    """Write a trial's record with its checksum, atomically, and return it so. Raises OSError where the disk refuses.

    The files that it answers for are synced with it. That of a trial which has ended takes the place of what there was
    while it was paused.
    """
    with_checksum = sealed(record)
    beside = [folder / name for name in (*record.get("files", {}), *BESIDE)]
    write_json(folder / file_of(record), with_checksum, beside=dict.fromkeys(beside))
    if record["state"] != PAUSED:
        (folder / PAUSE).unlink(missing_ok=True)
    return cast(Record, with_checksum)


def read(folder: Path, job: Mapping[str, Any] | None = None, name: str = RECORD) -> Record | None:
    """Read the record in a trial's folder; None where there is none.

    job: the job that it has to answer. name: PAUSE for the record of a trial that is paused. Raises DamagedError where
    a file is there that does not count.
    """
    file = folder / name
    try:
        record = read_sealed(file)
    except FileNotFoundError:
        return None
    problem = fault(record, folder.name, job, (PAUSED,) if name == PAUSE else STATES)
    if problem is not None:
        raise DamagedError(file, problem)
    return cast(Record, record)


def job_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job that a trial's record answers, with the hash of the data that it was trained on.

    Raises FileNotFoundError, and DamagedError where the file does not count or is the job of another trial.
    """
    file = folder / "job.json"
    job = read_sealed(file)
    if any(job.get(key) != record.get(key) for key in ("trial", "config_hash", "seed")):
        raise DamagedError(file, "is not the job of this trial")
    return {"data_hash": record.get("data_hash"), **job}


def read_valid(folder: Path, name: str = RECORD) -> Record | None:
    """Return the record in a trial's folder; None where there is none that counts."""
    try:
        return read(folder, name=name)
    except DamagedError:
        return None


def take(
    folder: Path, job: Mapping[str, Any], say: Callable[[str], None] = lambda line: None, name: str = RECORD
) -> Record | None:
    """Return the record that answers a job, or None; set a damaged one aside, and say so in one line."""
    try:
        return read(folder, job, name)
    except DamagedError as error:
        copy = set_aside(error.file)
        say(f"{error}; kept as {copy.name}, and the trial is measured again")
        return None


def named_anew(folder: Path, record: Record, choices: Mapping[str, Any]) -> Record:
    """Return a record with the choices by which a study names its candidate now, and write it so where they differ.

    They are a candidate's name, not its identity: a study that has grown, or that reuses another's trials, has others.
    """
    if dict(record["choices"]) == dict(choices):
        return record
    with_choices: Any = {**record, "choices": dict(choices)}
    return write(folder, with_choices)


def measured(folder: Path) -> list[Path]:
    """Return the files that `ablate evaluate` wrote into a trial's folder, in order, without those set aside."""
    return [file for file in sorted(folder.glob("measured/*.json")) if ASIDE not in file.name]


def fault(
    record: Any, trial: str, job: Mapping[str, Any] | None = None, states: Collection[str] = STATES
) -> str | None:
    """Return why this does not count as the record of a trial in one of these states; None where it does."""
    if not isinstance(record, Mapping):
        return "holds no JSON object"
    if CHECKSUM not in record and "host" in record:
        return "is not as it was written: its checksum is missing"
    missing = [key for key in _TYPES if key not in record]
    if missing:
        return f"is no record of a trial: it has no {', '.join(missing)}"
    wrong = [key for key, right in _TYPES.items() if not right(record[key])]
    if not wrong and record["state"] not in states:
        wrong = ["state"]
    if wrong:
        return f"is no record of a trial: its {wrong[0]} is {str(record[wrong[0]])[:40]!r}"
    if record["state"] == DIVERGED and not _divergence(record.get("divergence")):
        return "is no record of a trial: it diverged, and does not say where"
    own = (record["trial"], f"{record['config_hash'][:12]}-s{record['seed']}")
    if own != (trial, trial):
        return f"is the record of another trial, {next(name for name in own if name != trial)}"
    for key in ("trial", "config_hash", "seed"):
        if job is not None and record[key] != job[key]:
            return f"is the record of another trial: its {key} is {record[key]}, not {job[key]}"
    then, now = (((one or {}).get("teacher") or {}).get("weights") for one in (record, job))
    if then and now and then != now:
        return f"is of another teacher: its weights were {then[:12]}, and are {now[:12]}"
    return None


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return {name: SHA-256} of those files that exist: a record has it of the files beside it."""
    return {name: file_hash(folder / name) for name in names if (folder / name).is_file()}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number_or_none(value: Any) -> bool:
    """Return whether it is a number, or None where it could not be computed."""
    return value is None or _number(value)


def _rows(value: Any) -> bool:
    """Return whether these are measurements: each has the name of its metric, and a value or none."""
    return isinstance(value, list) and all(
        isinstance(row, Mapping) and isinstance(row.get("metric"), str) and _number_or_none(row.get("value"))
        for row in value
    )


def _divergence(value: Any) -> bool:
    """Return whether it says where and why a training ended."""
    return isinstance(value, Mapping) and _whole_number(value.get("step")) and isinstance(value.get("message"), str)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "schema": lambda value: _whole_number(value) and value >= 1,
    "trial": lambda value: isinstance(value, str),
    "config_hash": lambda value: isinstance(value, str) and len(value) >= 12,
    "seed": _whole_number,
    "state": lambda value: isinstance(value, str),
    "choices": lambda value: isinstance(value, Mapping),
    "params": _number_or_none,
    "gflops": _number_or_none,
    "macs": _number_or_none,
    "images": _whole_number,
    "seconds": _number,
    "metrics": _rows,
}
