"""Measures networks for another process: what they cost, and the memory of their training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ablate.candidates.candidate import Candidate, compose, cost_of
from ablate.kinds.executor import Job, Report, Stop
from ablate.runtime.seldom import seldom_collected
from ablate.spec.component import InputSpec
from ablate.spec.inputs import ConditionSpec
from ablate.spec.slots import SlotFiller
from ablate.worker.sources import checked_catalog


def get_ready() -> None:
    """Import what the first job needs."""
    import ablate.training.memory_estimate  # noqa: F401
    from ablate.discovery.catalog import catalog

    catalog()


def run(job: Job, stop: Stop) -> Report:
    """Measure the networks of a job's `candidates`; a work function like `ablate.worker.trial_run.run`.

    The report's `measured` has an entry for each: its `cost` and its `footprint`, or None where one of them fails. How
    it fails is told by whoever measures it next.
    """
    catalog = checked_catalog(job)
    filler, setting = SlotFiller(catalog, remember=True), setting_of(job["setting"])
    with seldom_collected():
        measured = [
            _measured(compose(spec, catalog, filler=filler), setting, job["device"]) for spec in job["candidates"]
        ]
    return {"job": job["job"], "status": "done", "measured": measured}  # type: ignore[typeddict-unknown-key]


def _measured(candidate: Candidate, setting: InputSpec, device: str) -> dict[str, Any] | None:
    from ablate.training.memory_estimate import footprint

    try:
        cost = cost_of(candidate.backbone, candidate.inputs(setting))
        return {"cost": asdict(cost), "footprint": asdict(footprint(candidate, setting, device))}
    except Exception:  # noqa: BLE001 - a plugin's own code
        return None


def setting_of(fields: Mapping[str, Any]) -> InputSpec:
    """Return the setting that `dataclasses.asdict` took apart, and JSON after it."""
    channels, height, width = fields["shape"]
    conditions = (ConditionSpec(**{**one, "shape": tuple(one["shape"])}) for one in fields["conditions"])
    return InputSpec((channels, height, width), fields["classes"], tuple(conditions))
