"""Out of memory: makes a job smaller, by half the micro-batch for training, by half the batch for sampling.

Neither changes what is computed. The micro-batch is how many images go through the network at a time (gradient
accumulation makes up the batch), the sampling batch is how many samples are drawn at a time. Both are keys of a job
(`micro`, `sampling_batch`) beside its candidate and its evaluation, so they are no part of any identity.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeVar

from ablate.candidates.evaluation import Evaluation
from ablate.kinds.executor import Job
from ablate.runtime.memory import out_of_memory
from ablate.worker.messages import Phase, TrialJob

TRAIN: Phase = "train"
MEASURE: Phase = "measure"

T = TypeVar("T", bound=TrialJob)


class MeasuringOutOfMemoryError(MemoryError):
    """Raised where the memory did not suffice for drawing or measuring samples, after the training."""


@contextmanager
def measuring() -> Iterator[None]:
    """Raise MeasuringOutOfMemoryError where the memory does not suffice for what happens within."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise MeasuringOutOfMemoryError(str(error)) from error


def half_micro_batch(job: TrialJob) -> TrialJob | None:
    """Return the job with half its micro-batch (gradient accumulation).

    None where that is one image already, and where the batch has to stay whole.
    """
    if job.get("whole_batch"):
        return None
    candidate = job["candidate"]
    share = -(-candidate["batch"] // candidate.get("devices", 1))
    micro = min(int(job.get("micro") or candidate.get("micro") or share), share) // 2
    return {**job, "micro": micro} if micro >= 1 else None


def half_sampling_batch(job: T, evaluation: Mapping[str, Any]) -> T | None:
    """Return the job with half its sampling batch; None where it is one already, or none is drawn.

    evaluation: the spec of an `Evaluation`, which says how many are drawn without a `sampling_batch` in the job.
    """
    drawn = evaluation["samples"] if evaluation["metrics"] else evaluation["previews"]
    batch: int = evaluation["batch"]
    half = min(job.get("sampling_batch") or batch, batch, drawn) // 2
    if half < 1:
        return None
    smaller = copy(job)
    smaller["sampling_batch"] = half
    return smaller


def with_sampling_batch(job: Job, evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the job's sampling batch, where that is smaller than its own."""
    batch = job.get("sampling_batch")
    if batch is None or batch >= evaluation.batch:
        return evaluation
    return evaluation.model_copy(update={"batch": int(batch)})
