"""Reports of errors that are not the candidate's own: how a worker makes them, and how the driver takes them.

Out of memory is tried again in another way. A full disk, other source code and other data end the whole run: no
candidate is to blame for them, and no other one would fare better.
"""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from ablate.errors import InputError
from ablate.kinds.executor import Job
from ablate.worker import datasets, sources
from ablate.worker.messages import Phase, WorkerReport
from ablate.worker.out_of_memory import MEASURE, TRAIN, MeasuringOutOfMemoryError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # the disk's fault, not the candidate's


def report_of(job: Job, error: Exception, phase: Phase = TRAIN) -> WorkerReport | None:
    """Return the report on an exception: other source, other data, out of memory, a full disk; None for any other.

    phase: what the worker was at, where the exception does not say.
    """
    from ablate.runtime.memory import out_of_memory  # imports torch, which the driver does without

    if isinstance(error, sources.OtherSourceError):
        return sources.report(job, error)
    if isinstance(error, datasets.OtherDataError):
        return datasets.report(job, error)
    if out_of_memory(error):
        failed_phase = MEASURE if isinstance(error, MeasuringOutOfMemoryError) else phase
        return {"job": job["job"], "status": "oom", "message": str(error).partition("\n")[0], "phase": failed_phase}
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return {"job": job["job"], "status": "failed", "message": str(error), "errno": error.errno}
    return None


def raise_if_fatal(report: WorkerReport, path: Path) -> None:
    """Raise what ends the whole run: OSError where a disk is full, InputError for other source code or other data.

    path: where the worker wrote, for the message about the disk.
    """
    if (number := report.get("errno")) is not None:
        raise OSError(number, os.strerror(number), str(path))
    sources.refuse(report)
    datasets.refuse(report)


def failure_report(job: Job, error: Exception) -> WorkerReport:
    """Return the report that a worker would give on an exception."""
    message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    lines = traceback.format_exception(error)
    return {"job": job["job"], "status": "failed", "message": message, "traceback": "".join(lines)}
