"""The record of a trial: the one place that writes it, reads it, and checks whether it counts.

A record is JSON in a trial's folder: the first line of `trial.jsonl.gz`, whose second has the trial's job, curve and
probes; or, in folders of earlier versions, `record.json`, with files beside it. It carries the SHA-256 of its own
canonical JSON (`checksum`), and counts only where it is whole: that sum is right, every key that is relied on is there
and of its type, and trial, configuration and seed are those of the folder that it lies in. What is not whole is an
absent record: it is kept aside, and the trial is measured again.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from ablate.io import packed
from ablate.io.files import file_hash, read_json, write_json
from ablate.io.sealed import ASIDE, CHECKSUM, DamagedError, check_sealed, read_sealed, sealed, set_aside
from ablate.kinds.executor import Status
from ablate.training.checkpoint_files import SO_FAR
from ablate.training.health import speeds
from ablate.worker.messages import Record

PACKED = "trial.jsonl.gz"  # of a trial that has ended: its record, then what is `BESIDE` it
RECORD = "record.json"  # the same in folders of earlier versions, which have the others as files
JOB, CURVE, PROBES = BESIDE = ("job.json", "curve.json", "probes.json")
OTHER_SECOND = "its second line, with job and curve, is not the one that was recorded with the trial"
SECOND = "beside"  # in a packed record: the SHA-256 of the second line
LIVE = ("progress.json", SO_FAR)  # a worker's sign of life, and what it shows of a training that goes on
PAUSE = "paused.json"  # of a trial that a fidelity has paused: what its record would be, as far as it has come
ORIGIN = "origin.json"  # of a trial that was taken from another study's folder: which that was
COMPLETE, DIVERGED, PAUSED = "complete", "diverged", "paused"
STATES = (COMPLETE, DIVERGED)
STATUS: Mapping[str, Status] = {COMPLETE: "done", DIVERGED: "diverged", PAUSED: "paused"}  # of the report, by state
_DERIVED = {"images_per_second": speeds}  # of a curve's columns
_EQUAL = "equal"  # of a packed job: its keys that are those of the record


def file_of(record: Mapping[str, Any]) -> str:
    """Return the name of the file in which a record is looked for first."""
    return PAUSE if record["state"] == PAUSED else RECORD


def is_recorded(folder: Path) -> bool:
    """Return whether a trial's folder holds the record of a trial that has ended, whether or not it counts."""
    return any(os.path.exists(f"{folder}/{name}") for name in (PACKED, RECORD))  # noqa: PTH110 - of thousands


def recorded(study: Path) -> list[Path]:
    """Return the folders of a study's trials that hold a record, in order."""
    return [trial for trial in sorted(study.glob("trials/*")) if is_recorded(trial)]


def write(folder: Path, record: Record, beside: Mapping[str, Any] | None = None) -> Record:
    """Write a trial's record with its checksum, atomically, and return it so. Raises OSError where the disk refuses.

    beside: what belongs to it, by the names of `BESIDE`; None: what there is already. The files that it answers for are
    synced with it. Of a trial that has ended one packed file takes the place of what there was while it was trained; a
    folder of an earlier version stays as it is.
    """
    if record["state"] == PAUSED or (folder / RECORD).exists():
        return _write_open(folder, record, beside or {})
    if beside is None and (damaged := _damaged(folder)) is not None:
        second, checksum = damaged  # it is not thrown away, and goes on to be told
    else:
        second = _second_line(record, _found(folder) if beside is None else beside)
        checksum = hashlib.sha256(second).hexdigest()
    whole = sealed({**record, SECOND: checksum})
    packed.write(folder / PACKED, whole, second, [folder / name for name in record.get("files", {})])
    _tidy(folder)
    return cast(Record, whole)


def _write_open(folder: Path, record: Record, beside: Mapping[str, Any]) -> Record:
    """Write a record as a file beside others: of a trial that is paused, or of a folder of an earlier version."""
    written = [name for name in (CURVE, PROBES) if name in beside]
    for name in written:
        write_json(folder / name, beside[name], durable=False)
    files = {**record.get("files", {}), **hashes(folder, written)}
    whole = sealed({**record, "files": files} if written else record)
    names = dict.fromkeys((*files, CURVE, PROBES))
    write_json(folder / file_of(record), whole, beside=[folder / name for name in names])
    if record["state"] != PAUSED:
        (folder / PAUSE).unlink(missing_ok=True)
    return cast(Record, whole)


def _second_line(record: Mapping[str, Any], beside: Mapping[str, Any]) -> bytes:
    stored = dict(beside)
    if JOB in stored:
        equal = [key for key, value in stored[JOB].items() if key in record and record[key] == value]
        stored[JOB] = {_EQUAL: equal, **{key: value for key, value in stored[JOB].items() if key not in equal}}
    if CURVE in stored:
        stored[CURVE] = packed.by_columns(stored[CURVE], _DERIVED)
    if PROBES in stored:
        stored[PROBES] = {**stored[PROBES], "rows": packed.by_columns(stored[PROBES]["rows"])}
    return packed.line(stored)


def _found(folder: Path) -> dict[str, Any]:
    """Return what belongs to a trial's record already, by the names of `BESIDE`; what is damaged is left out."""
    found = {}
    for name in BESIDE:
        try:
            found[name] = content(folder, name)
        except (OSError, ValueError):
            continue
    return found


def _damaged(folder: Path) -> tuple[bytes, str] | None:
    """Return the second line of a packed file and the checksum that it should have, where it has another; else None."""
    try:
        record, second = _read_packed(folder)
    except (FileNotFoundError, DamagedError):
        return None
    checksum = str(record.get(SECOND))
    return None if checksum == hashlib.sha256(second).hexdigest() else (second, checksum)


def _tidy(folder: Path) -> None:
    """Remove what a packed file stands for; it may still be there after a kill between the one and the other."""
    for name in (*BESIDE, PAUSE):
        (folder / name).unlink(missing_ok=True)
    forget_progress(folder)


def forget_progress(folder: Path) -> None:
    """Remove what a worker shows of a training while it goes on."""
    for name in LIVE:
        (folder / name).unlink(missing_ok=True)


def _read_packed(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return the record of a packed file, its checksum verified, and its second line as it is stored.

    Raises FileNotFoundError, and DamagedError.
    """
    file = folder / PACKED
    try:
        record, second = packed.read(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(file, f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DamagedError(file, f"cannot be read ({error})") from None
    return check_sealed(file, record), second


def content(folder: Path, name: str) -> Any:
    """Return what belongs to a trial, by one of the names of `BESIDE`: a part of its packed file, or a file.

    Raises FileNotFoundError where there is none, and DamagedError where it does not count.
    """
    if (folder / RECORD).exists() or not (folder / PACKED).exists():
        return _read_rows(folder / name) if name == CURVE else read_sealed(folder / name)
    return _part(folder, name, lambda stored, record: _unpacked(name, stored, record))


def _part(folder: Path, name: str, unpack: Callable[[Any, Mapping[str, Any]], Any]) -> Any:
    """Return a part of a packed file, as `unpack` makes it of what is stored and the record. Raises as `content`."""
    record, second = _read_packed(folder)
    file = folder / PACKED
    try:
        if record.get(SECOND) != hashlib.sha256(second).hexdigest():
            raise ValueError(OTHER_SECOND)
        stored = packed.content(second)
        if name not in stored:
            raise FileNotFoundError(f"{file}: holds no {name}")
        return unpack(stored[name], record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(file, f"its {name} cannot be read ({error})") from None


def curve_columns(folder: Path) -> packed.Columns:
    """Return the curve of a trial by columns, which takes a fraction of its rows. Raises as `content`."""
    if (folder / RECORD).exists() or not (folder / PACKED).exists():
        return packed.whole_columns(packed.by_columns(content(folder, CURVE)))
    columns: packed.Columns = _part(folder, CURVE, lambda stored, record: packed.whole_columns(stored, _DERIVED))
    return columns


def _unpacked(name: str, stored: Any, record: Mapping[str, Any]) -> Any:
    if name == JOB:
        own = {key: value for key, value in stored.items() if key != _EQUAL}
        return {**{key: record[key] for key in stored[_EQUAL]}, **own}
    if name == CURVE:
        return packed.by_rows(stored, _DERIVED)
    return {**stored, "rows": packed.by_rows(stored["rows"])}


def _read_rows(file: Path) -> list[dict[str, Any]]:
    try:
        data = read_json(file)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DamagedError(file, f"cannot be read ({error})") from None
    if not isinstance(data, list):
        raise DamagedError(file, "holds no list of points")
    return [point for point in data if isinstance(point, dict)]


def read(
    folder: Path, job: Mapping[str, Any] | None = None, name: str = RECORD, damage: list[str] | None = None
) -> Record | None:
    """Read the record in a trial's folder; None where there is none.

    job: the job that it has to answer. name: PAUSE for the record of a trial that is paused. damage: takes a line where
    what a packed file holds beside the record is damaged, which is no reason not to count the record. Raises
    DamagedError where a file is there that does not count.
    """
    file = folder / name
    try:
        record = read_sealed(file)
    except FileNotFoundError:
        if name != RECORD:
            return None
        file = folder / PACKED
        try:
            record, second = _read_packed(folder)
        except FileNotFoundError:
            return None
        if damage is not None and record.get(SECOND) != hashlib.sha256(second).hexdigest():
            damage.append(f"{file}: {OTHER_SECOND}")
    problem = fault(record, folder.name, job, (PAUSED,) if name == PAUSE else STATES)
    if problem is not None:
        raise DamagedError(file, problem)
    return cast(Record, record)


def unpack(folder: Path, into: Path) -> None:
    """Write the record, curve and probes of a trial as files into another folder, as earlier versions had them.

    Without its job, which names places of a machine. Raises FileNotFoundError, and DamagedError.
    """
    record = read(folder)
    if record is None:
        raise FileNotFoundError(folder / PACKED)
    found = {name: content for name, content in _found(folder).items() if name != JOB}
    own: Any = {key: value for key, value in record.items() if key != SECOND}
    into.mkdir(parents=True, exist_ok=True)
    _write_open(into, own, found)


def job(folder: Path) -> dict[str, Any]:
    """Return the job of a trial. Raises FileNotFoundError, and DamagedError where it does not count."""
    found: dict[str, Any] = content(folder, JOB)
    return found


def job_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job that a trial's record answers, with the hash of the data that it was trained on.

    Raises FileNotFoundError, and DamagedError where the file does not count or is the job of another trial.
    """
    own = job(folder)
    if any(own.get(key) != record.get(key) for key in ("trial", "config_hash", "seed")):
        raise DamagedError(folder / JOB, "is not the job of this trial")
    return {"data_hash": record.get("data_hash"), **own}


def read_valid(folder: Path, name: str = RECORD) -> Record | None:
    """Return the record in a trial's folder; None where there is none that counts."""
    try:
        return read(folder, name=name)
    except DamagedError:
        return None


def take(
    folder: Path, job: Mapping[str, Any], say: Callable[[str], None] = lambda line: None, name: str = RECORD
) -> Record | None:
    """Return the record that answers a job, or None; set a damaged one aside, and say so in one line.

    For who alone writes into the folder: what a packed record stands for is removed.
    """
    try:
        record = read(folder, job, name)
        if record is not None and SECOND in record:
            _tidy(folder)
        return record
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
