"""Measures a trained trial again, with other sampling, guidance, averages or metrics; nothing is trained.

The rows are written beside the record, to `measured/<digest>.json`: the record itself is written once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.sample_cost import sample_gflops
from ablate.discovery.catalog import Catalog
from ablate.errors import Argument, InputError
from ablate.evaluation.measure import measure
from ablate.evaluation.sampling import NotFiniteError
from ablate.io.files import TEMPORARY, digest, sweep, write_json
from ablate.io.sealed import DamagedError, read_sealed, sealed, set_aside
from ablate.kinds.data import Data, Dataset, image_setting
from ablate.kinds.executor import Job, Stop
from ablate.runtime.isolation import watched
from ablate.runtime.memory import release_memory
from ablate.spec.slots import fill
from ablate.training.checkpoint import CHECKPOINTS, newest
from ablate.training.learner import Learner
from ablate.training.snapshots import Snapshots
from ablate.worker import datasets, records, sources
from ablate.worker.exclusive import alone_in_folder, alone_in_process, pause_of
from ablate.worker.loading import data_of, dataset_for, images_of
from ablate.worker.messages import MeasureJob, WorkerReport, measure_job
from ablate.worker.out_of_memory import MEASURE, with_sampling_batch
from ablate.worker.reports import report_of
from ablate.worker.trial_run import versions

FOLDER = "measured"
HEARTBEAT_SECONDS = 1.0  # between two heartbeats


def key(ways: Mapping[str, Any]) -> str:
    """Return the name of a measurement, a hash of its ways: twice the same is measured once."""
    return digest(ways)[:16]


def file_of(trial: Path, ways: Mapping[str, Any]) -> Path:
    """Return the file of a measurement's rows."""
    return trial / FOLDER / f"{key(ways)}.json"


def read(file: Path) -> dict[str, Any] | None:
    """Read a measurement; None where there is none, and where the file is damaged, which is then set aside."""
    try:
        content = read_sealed(file)
    except FileNotFoundError:
        return None
    except DamagedError:
        content = {}
    trial = file.parent.parent.name
    if isinstance(content.get("metrics"), list) and content.get("trial", trial) == trial:
        return content
    set_aside(file)
    return None


def run(job: Job, stop: Stop) -> WorkerReport:
    """Measure one trial again; a work function like `ablate.worker.trial_run.run`.

    job: the trial's own, and `asked`: {"evaluation", "solver", "guidance", "averages"}, the specs that
    stand in for its own; averages are labels or lengths, null for the one that the study measures. With the key
    `sampling_batch` no more samples than that are drawn at a time: what is computed stays the same.
    """
    try:
        folder = Path(job["folder"])
        with alone_in_process(job, stop) as stop_in_turn, alone_in_folder(folder, stop_in_turn):
            file = file_of(folder, job["asked"])
            measurement = read(file)
            if measurement is None:
                sweep(file.parent)
                with watched("this candidate, while it is sampled and measured,"):
                    rows = _rows(measure_job(job), folder, _with_heartbeat(sign(job), stop_in_turn))
                measurement = {
                    "schema": 1,
                    "trial": folder.name,
                    "asked": job["asked"],
                    "versions": versions(),
                    **{key: job[key] for key in ("hashes", "sources") if key in job},
                    "metrics": rows,
                }
                write_json(file, sealed(measurement))
        return {"job": job["job"], "status": "done", "rows": measurement["metrics"]}
    except (InputError, NotFiniteError, datasets.OtherDataError) as error:
        return {"job": job["job"], "status": "failed", "message": str(error)}
    except Exception as error:
        report = report_of(job, error, MEASURE)
        if report is None:
            raise
        return report
    finally:
        sign(job).unlink(missing_ok=True)
        release_memory(torch.device(job["device"]))


def sign(job: Job) -> Path:
    """Return the heartbeat file: by its time the watchdog sees that the worker goes on."""
    return Path(job["folder"]) / FOLDER / f".{key(job['asked'])}.alive{TEMPORARY}"


def _with_heartbeat(file: Path, stop: Stop) -> Stop:
    """Wrap `stop`, so that each call touches the heartbeat file, once a second at the most; touch it now."""
    last = float("-inf")

    def stop_with_heartbeat() -> bool:
        nonlocal last
        if time.monotonic() - last >= HEARTBEAT_SECONDS:
            last = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk fails what has to be written
                file.touch()
        return stop()

    stop_with_heartbeat()
    return stop_with_heartbeat


def variant(job: Job, catalog: Catalog) -> Candidate:
    """Return the trial's candidate with the solver and guidance of a measurement."""
    ways = job["asked"]
    return compose({**job["candidate"], "solver": ways["solver"], "guidance": ways["guidance"]}, catalog)


def _rows(job: MeasureJob, folder: Path, stop: Stop) -> list[dict[str, Any]]:
    catalog, device, ways = sources.checked_catalog(job), torch.device(job["device"]), job["asked"]
    candidate = variant(job, catalog)
    evaluation = with_sampling_batch(job, fill(Evaluation, ways["evaluation"], catalog))
    data = data_of(job, catalog)
    learner, dataset, snapshots = restored(job, folder, candidate, data)
    averages = averages_of(learner, snapshots, ways["averages"])
    rows, _ = measure(
        candidate,
        learner.process,
        image_setting(data),
        learner.network,
        averages,
        dataset,
        evaluation,
        job["seed"],
        learner.images_seen,
        Path(job["cache"]),
        device,
        pause_of(stop),
        learner.companion_network,
        snapshots,
        learner.averaged_sibling,
    )
    cost = sample_gflops(candidate, image_setting(data), job["gflops"])
    return [{**row, "sample_gflops": cost} for row in rows]


def restored(job: Job, folder: Path, candidate: Candidate, data: Data) -> tuple[Learner, Dataset, Snapshots]:
    """Return a trial's learner as it was at its end, the data that it was trained on, and its snapshots.

    Raises InputError where its weights are gone or do not fit, OtherDataError where the data are others.
    """
    device = torch.device(job["device"])
    dataset = dataset_for(job, data)
    images = images_of(data, job["cache"], device)
    checkpoint = newest(folder / CHECKPOINTS, str(device))
    if checkpoint is None:
        raise InputError("its checkpoint is gone, so there are no weights to measure", str(folder / CHECKPOINTS))
    record = records.read_valid(folder)
    images_seen = checkpoint.images if record is None else record["images"]
    if checkpoint.images != images_seen:
        problem = f"the weights after {images_seen} images are damaged or gone, and what is left is of "
        problem += f"{checkpoint.images}: a measurement of half a training is none of the trial"
        raise InputError(problem, str(folder / CHECKPOINTS))
    trained_on = checkpoint.facts.get("sources", {}).get("data", dataset.hash)
    if trained_on != dataset.hash:
        raise datasets.OtherDataError(f"{datasets.describe(data)}, of the checkpoint", trained_on, dataset.hash)
    learner = Learner(candidate, image_setting(data), images, job["seed"], device, None)
    try:
        learner.load(checkpoint)
    except (RuntimeError, KeyError, ValueError):
        problem = "its weights do not fit the network that is built today: they were trained with other source code"
        raise InputError(problem, str(folder / CHECKPOINTS)) from None
    snapshots = Snapshots(folder / "snapshots")
    snapshots.expect(checkpoint.facts.get("snapshots", {}))
    return learner, dataset, snapshots


def averages_of(learner: Learner, snapshots: Snapshots, averages: list[str | float] | None) -> dict[str, Any]:
    """Return averages (EMA) by label, or rebuilt by relative length; for None the one that the study measures."""
    ema = learner.candidate.ema
    weights = {**learner.average.weights(), **ema.measured(learner.average, snapshots)}
    if averages is None:
        own = next(iter(ema.measured(learner.average, snapshots)))
        return {own: weights[own]}
    labels = [average for average in averages if isinstance(average, str)]
    lengths = [average for average in averages if not isinstance(average, str)]
    missing = [label for label in labels if label not in weights]
    if missing:
        raise InputError(f"no average is called {missing[0]!r}; there is: {', '.join(weights)}", Argument("average"))
    return {label: weights[label] for label in labels} | (ema.rebuild(lengths, snapshots) if lengths else {})
