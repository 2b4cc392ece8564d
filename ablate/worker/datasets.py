"""The data of a trial: their hash in a job, compared by a worker with that of its own data before it trains.

All trials of a study are trained on the same images and measured against the same reference. The driver freezes their
hash; where a worker finds other data (another machine's copy, pictures that were replaced), it trains nothing.
"""

from __future__ import annotations

import socket

from ablate.errors import InputError
from ablate.kinds.data import Data, Dataset
from ablate.kinds.executor import Job
from ablate.worker.messages import WorkerReport

DIGITS = 12  # digits of a hash that a message shows


class OtherDataError(Exception):
    """Raised where a process found other data than its job asks for."""

    def __init__(self, data: str, run_hash: str, hash_here: str) -> None:
        host = socket.gethostname()
        super().__init__(f"{data}: {run_hash[:DIGITS]} in this run, {hash_here[:DIGITS]} on {host}")


def describe(data: Data) -> str:
    """Return what messages call the data: `data 'folder' (path: faces)`."""
    path = getattr(data, "path", None)
    return f"data {data.name!r}" + (f" (path: {path})" if path is not None else "")


def check(job: Job, data: Data, dataset: Dataset) -> None:
    """Raise OtherDataError where these are not the data that the job was made for."""
    run_hash = job.get("data_hash")
    if run_hash is not None and dataset.hash != run_hash:
        raise OtherDataError(describe(data), run_hash, dataset.hash)


def report(job: Job, error: OtherDataError) -> WorkerReport:
    """Return a worker's report of other data: neither a result nor the candidate's failure."""
    return {"job": job["job"], "status": "failed", "message": f"other data: {error}", "other_data": str(error)}


def refuse(report: WorkerReport) -> None:
    """Raise InputError where a worker found other data: on them no trial of this study can be trained."""
    if "other_data" in report:
        raise InputError(
            f"a worker found other data than this run began with:\n  {report['other_data']}\n"
            "nothing was trained on them, and what was measured is kept. Bring the data of all machines to the "
            "same state, then give the same command again; a study on the new data needs a folder of its own (--out)"
        )
