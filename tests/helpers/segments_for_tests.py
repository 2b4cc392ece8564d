"""Jobs of one trial, and what comes of them, run in this process."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.trial import Budget, TrialSettings
from ablate.discovery.catalog import catalog
from ablate.kinds.data import Data, image_setting
from ablate.spec.slots import create
from ablate.worker import records, trial_run

PLUGIN = str(Path(__file__).with_name("probes_for_tests.py"))
CACHE = Path(tempfile.gettempdir()) / f"ablate-tests-{os.getuid()}"
KNOWN = catalog((PLUGIN,))
DATA = create(Data, "digits", KNOWN)
TIMING = (
    *("seconds", "train_seconds", "evaluate_seconds", "overhead_seconds", "peak_memory_bytes", "train_memory_bytes"),
    *("train_seconds_at", "ended"),
)


def candidate(batch: int = 32, more: dict[str, Any] | None = None, **probe: Any) -> Candidate:
    spec = {"backbone": {"type": "probe", **probe}, "solver": {"type": "ddim", "steps": 2}, "batch": batch}
    return compose({**spec, **(more or {})}, KNOWN)


def job(
    folder: Path,
    made: Candidate,
    budget: dict[str, Any] | None = None,
    seed: int = 0,
    evaluate: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What the engine would submit. evaluate: fields of the evaluation beside KID on the pixels of 8 samples."""
    kid = KNOWN.create("metric", {"type": "kid", "features": "pixels"})
    settings = TrialSettings(
        DATA,
        image_setting(DATA),
        Budget(**(budget or {"steps": 12})),
        Evaluation(**{"metrics": (kid,), "samples": 8, "previews": 4, **(evaluate or {})}),
    )
    cost = settings.cost(made)
    jobs = settings.jobs(made, seed + 1, {"backbone": "probe"}, (PLUGIN,), folder, cost)
    return {**jobs[seed], "device": "cpu", "cache": str(CACHE), "threads": 1, **more}


def run(job: dict[str, Any], stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    return trial_run.run(job, stop)


def after(steps: int) -> Callable[[], bool]:
    """Stops a segment after so many steps."""
    left = iter(range(steps - 1))
    return lambda: next(left, None) is None


def read(job: dict[str, Any], name: str) -> Any:
    """What a trial has under a name that it had as a file in earlier versions: record.json, curve.json, ..."""
    folder = Path(job["folder"])
    if name == records.RECORD:
        record = records.read(folder)
        assert record is not None, f"{folder} has no record"
        return record
    if name in records.BESIDE:
        return records.content(folder, name)
    return json.loads(Path(folder, name).read_text())


def timeless(rows: Any) -> Any:
    """Records and curves without what a clock decides."""
    if isinstance(rows, list):
        return [timeless(row) for row in rows]
    clocked = (*TIMING, "images_per_second", "checksum", "files", "beside")
    return {
        key: {share: timeless(point) for share, point in value.items()} if key == "shares" else value
        for key, value in rows.items()
        if key not in clocked
    }
