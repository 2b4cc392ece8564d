"""Reuse of trials of other folders (`reuse`): what was measured there with the same identity is not measured again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.errors import InputError
from ablate.io.files import write_atomic, write_json
from ablate.io.sealed import sealed
from ablate.study import aside, grow, lock
from ablate.study.differences import differences
from ablate.study.loaded import LoadedStudy
from ablate.worker import records
from ablate.worker.messages import Record, TrialJob

DECIDE = ("data", "budget", "evaluate")  # parts of a study that decide the identity of its trials, beside candidates


class Reuse:
    """Brings trials of other folders into a study's own: complete or diverged, of one identity, source and data.

    Raises InputError for a folder that is no study's, or of which no trial can be used, with what differs.
    """

    def __init__(self, loaded: LoadedStudy, own: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self._say = say
        self._told: set[tuple[str, str]] = set()
        folders = {name: folder_of(loaded, name) for name in loaded.study.reuse}
        asides = aside.folders(own)  # of smaller budgets: theirs are trials of this one only where a move was cut short
        self._folders = [folder for folder in dict.fromkeys((*folders.values(), *asides)) if folder != own.absolute()]
        for name, folder in folders.items():
            self._check(loaded, name, folder)

    def __call__(self, job: TrialJob) -> Record | None:
        """Copy the trial of a job from the first folder that has it, and return its record; None where none has."""
        for folder in self._folders:
            source = folder / "trials" / job["trial"]
            record = records.read_valid(source)
            if record is None or records.fault(record, job["trial"], job) is not None:
                continue
            if (why := self._differs(source, record, job)) is not None:
                self._say_once(folder, why)
                continue
            self._copy(source, Path(job["folder"]), folder)
            return record
        return None

    @staticmethod
    def _check(loaded: LoadedStudy, name: str, folder: Path) -> None:
        where = loaded.document.where(("reuse",))
        locked = lock.read(folder)
        if locked is None:
            raise InputError(f"reuse: {name} is no study's folder: it holds no lock.json", where)
        then, now = locked["science"], loaded.study.active()
        if grow.is_larger(then.get("budget"), now["budget"]):  # its trials are none of these, but may be gone on with
            then = {**then, "budget": now["budget"]}
        lines = [line for key in DECIDE for line in differences(then.get(key), now.get(key), key)]
        if lines:
            text = "\n".join(f"  {line}" for line in lines)
            message = f"reuse: no trial of {name} is one of this study; what differs (there -> here):\n{text}"
            raise InputError(message, where)

    @staticmethod
    def _differs(source: Path, record: Record, job: TrialJob) -> str | None:
        """Return why a trial of the same identity cannot be used; None where it can."""
        if "replayed" in record:
            return "were replayed, not trained"
        if record.get("data_hash") != job.get("data_hash"):
            return "were measured on other data"
        then, now = record.get("sources", {}), job.get("sources", {})
        other = [name for name in now if then.get(name) != now[name]]
        if record.get("hashes") != job.get("hashes") or other:
            return f"were measured with other source ({', '.join(other[:3]) or 'hashed otherwise'})"
        try:
            probes = records.job_of(source, record).get("probes", [])
        except (FileNotFoundError, ValueError):
            return "have no job that counts"
        return None if probes == job.get("probes", []) else "were observed by other probes"

    def _say_once(self, folder: Path, why: str) -> None:
        if (key := (str(folder), why)) not in self._told:
            self._told.add(key)
            self._say(f"reuse: trials of {folder} {why}; they are measured anew")

    @staticmethod
    def _copy(source: Path, target: Path, folder: Path) -> None:
        """Copy a trial's files; the record, by which it counts, last. What was half trained here gives way."""
        shutil.rmtree(target, ignore_errors=True)
        counts = records.RECORD if (source / records.RECORD).exists() else records.PACKED
        names = {records.RECORD, records.PACKED, ".lock", "progress.json", records.ORIGIN}
        shutil.copytree(source, target, ignore=lambda _, files: names.intersection(files))
        origin: Mapping[str, Any] = {
            "schema": 1,
            "trial": source.name,
            "from": str(folder),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(target / records.ORIGIN, sealed(origin))
        write_atomic(target / counts, (source / counts).read_bytes())


def folder_of(loaded: LoadedStudy, name: str) -> Path:
    """Return the folder that a study calls so: below the study file's own, or below the working directory."""
    places = [loaded.root / name, Path.cwd() / name]
    return next((place for place in places if place.is_dir()), places[0]).absolute()
