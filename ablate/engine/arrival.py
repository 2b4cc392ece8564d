"""What comes back of a trial, put into its folder: the record of one that ended or paused, the failure of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ablate.io.files import write_json
from ablate.worker import records
from ablate.worker.messages import Record, TrialJob, WorkerReport

FAILURE = "failure.json"


def record_in_folder(job: TrialJob, report: WorkerReport, name: str, say: Callable[[str], None]) -> Record:
    """Return a trial's record; write it where the worker's files did not arrive in the study's folder.

    name: of the trial, in the line that says so.
    """
    folder = Path(job["folder"])
    record = report["record"]
    folder.mkdir(parents=True, exist_ok=True)
    list(folder.iterdir())  # a network's file system asks the server again
    if records.take(folder, job, say, records.file_of(record)) == record:
        return record
    say(
        f"warning: {name}: the files of host {report.get('host', 'unknown')} did not arrive in {folder}; its record "
        "was written from what it reported, its curve, samples and checkpoint are not here. Let all workers see the "
        "study's folder"
    )
    return records.write(folder, record, {records.JOB: dict(job)})


def write_failure(job: TrialJob, report: WorkerReport, attempts: int) -> None:
    """Write why a trial failed into its folder. attempts: how often it was tried."""
    keys: Mapping[str, Any] = job
    failure = {
        "schema": 1,
        **{key: keys[key] for key in ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")},
        "state": "failed",
        "class": report["status"],
        "message": report.get("message", report["status"]),
        "traceback": report.get("traceback"),
        "attempts": attempts,
    }
    write_json(Path(job["folder"]) / FAILURE, failure)
