"""The files of a finished trial: packed, or lying open as in folders of earlier versions; both can be changed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ablate.io.files import write_json
from ablate.io.sealed import sealed, unsealed
from ablate.worker import records


def record_files(study: Path) -> list[Path]:
    """The files that the records of a study stand in."""
    names = (records.PACKED, records.RECORD)
    return sorted(file for name in names for file in study.glob(f"trials/*/{name}"))


def record_of(trial: Path) -> dict[str, Any]:
    """A trial's record."""
    record = records.read(trial)
    assert record is not None, f"{trial} has no record"
    return dict(record)


def records_of(study: Path) -> dict[str, dict[str, Any]]:
    """The records of a study, by trial."""
    return {trial.name: record_of(trial) for trial in records.recorded(study)}


def change(trial: Path, record: Callable[[dict[str, Any]], Any] | None = None, **job: Any) -> None:
    """Write a trial's record and job anew, changed, with checksums that fit. record: changes it in place."""
    content = unsealed(record_of(trial))
    beside = {name: records.content(trial, name) for name in records.BESIDE if has(trial, name)}
    if record is not None:
        record(content)
    if job:
        beside[records.JOB] = {**beside[records.JOB], **job}
    records.write(trial, content, beside)  # type: ignore[arg-type]


def has(trial: Path, name: str) -> bool:
    """Whether a trial has this beside its record."""
    try:
        records.content(trial, name)
    except FileNotFoundError:
        return False
    return True


def lay_open(study: Path) -> Path:
    """Lay all finished trials of a study open, as earlier versions left them, and return its folder."""
    for trial in records.recorded(study):
        if records.read_valid(trial) is None:
            continue  # damaged: it stays as it is
        job: Mapping[str, Any] | None = records.job(trial) if has(trial, records.JOB) else None
        if (trial / records.PACKED).exists():
            records.unpack(trial, trial)
            (trial / records.PACKED).unlink()
        if job is not None:
            write_json(trial / records.JOB, sealed(unsealed(job)))
    return study
