"""Builds a candidate's network and counts it, on the meta device, in a process that may end by it."""

from __future__ import annotations

from ablate.candidates.candidate import compose, cost_of
from ablate.discovery.catalog import catalog_of
from ablate.kinds.data import Data, image_setting
from ablate.kinds.executor import Job, Report, Stop
from ablate.spec.slots import create


def run(job: Job, stop: Stop) -> Report:
    """Build the network of a trial's job; a work function like `ablate.worker.trial_run.run`. Exceptions pass.

    With the key `begin` nothing is built: what building imports is imported.
    """
    if job.get("begin"):
        from ablate.worker.trial_run import get_ready

        get_ready()
    catalog = catalog_of(job)
    candidate, data = compose(job["candidate"], catalog), create(Data, job["data"], catalog)
    if not job.get("begin"):
        cost_of(candidate.backbone, candidate.inputs(image_setting(data)))
    return {"job": job["job"], "status": "done"}
