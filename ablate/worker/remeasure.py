"""Measuring again: the weights of a trial that is measured, sampled or judged in another way; nothing is trained.

What is found stands beside the record, in `measured/<digest>.json`: the record itself is written once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.sample_cost import sample_gflops
from ablate.candidates.trial import Evaluation
from ablate.discovery.catalog import Catalog
from ablate.errors import Argument, InputError
from ablate.evaluation.measure import NotFiniteError, measure
from ablate.io.files import TEMPORARY, sweep, write_json
from ablate.io.hashing import digest
from ablate.io.sealed import DamagedError, read_sealed, sealed, set_aside
from ablate.kinds.data import Data, Dataset
from ablate.kinds.executor import Job, Stop, Stopped
from ablate.runtime.isolation import watched
from ablate.runtime.memory import release_memory
from ablate.spec.slots import fill
from ablate.training.checkpoint import newest
from ablate.training.learner import Learner
from ablate.training.snapshots import Snapshots
from ablate.worker import datasets, records, sources
from ablate.worker.messages import MeasureJob, WorkerReport, measure_job
from ablate.worker.out_of_memory import MEASURE, with_sampling_batch
from ablate.worker.reports import report_of
from ablate.worker.trial_run import alone, alone_in_process, data_of, dataset_for, images_of, versions

FOLDER = "measured"
SIGN_SECONDS = 1.0  # between two signs of life


def key(asked: Mapping[str, Any]) -> str:
    """Return the name of a measurement, by a hash of what was asked for: twice the same is measured once."""
    return digest(asked)[:16]


def file_of(trial: Path, asked: Mapping[str, Any]) -> Path:
    """Return the file that holds the rows of a measurement."""
    return trial / FOLDER / f"{key(asked)}.json"


def read(file: Path) -> dict[str, Any] | None:
    """What was measured before; None where it was not, and where the file is damaged, which is then kept aside."""
    try:
        held = read_sealed(file)
    except FileNotFoundError:
        return None
    except DamagedError:
        held = {}
    if isinstance(held.get("metrics"), list) and held.get("trial", file.parent.parent.name) == file.parent.parent.name:
        return held
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
        with alone_in_process(job, stop) as ask, alone(folder, ask):
            file = file_of(folder, job["asked"])
            held = read(file)
            if held is None:
                sweep(file.parent)
                ask = _living(sign(job), ask)
                with watched("this candidate, while it is sampled and measured,"):
                    rows = _rows(measure_job(job), folder, ask)
                own = {key: job[key] for key in ("hashes", "sources") if key in job}
                held = {"schema": 1, "trial": folder.name, "asked": job["asked"], "versions": versions(), **own}
                held["metrics"] = rows
                write_json(file, sealed(held))
        return {"job": job["job"], "status": "done", "rows": held["metrics"]}
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
    """Return the heartbeat file: by its time a worker shows the watchdog that it goes on."""
    return Path(job["folder"]) / FOLDER / f".{key(job['asked'])}.alive{TEMPORARY}"


def _living(file: Path, stop: Stop) -> Stop:
    """Wrap `stop`, so that asking it touches the heartbeat file, once a second at the most."""
    given = float("-inf")

    def ask() -> bool:
        nonlocal given
        if time.monotonic() - given >= SIGN_SECONDS:
            given = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is told by what has to be written
                file.touch()
        return stop()

    ask()
    return ask


def variant(job: Job, known: Catalog) -> Candidate:
    """The trial's candidate with the solver and guidance that are asked for."""
    asked = job["asked"]
    return compose({**job["candidate"], "solver": asked["solver"], "guidance": asked["guidance"]}, known)


def _rows(job: MeasureJob, folder: Path, stop: Stop) -> list[dict[str, Any]]:
    def pause() -> None:
        if stop():
            raise Stopped

    known, device, asked = sources.known(job), torch.device(job["device"]), job["asked"]
    candidate = variant(job, known)
    evaluation = with_sampling_batch(job, fill(Evaluation, asked["evaluation"], known))
    data = data_of(job, known)
    learner, dataset, kept = restored(job, folder, candidate, data)
    averages = averages_of(learner, kept, asked["averages"])
    rows, _ = measure(
        candidate,
        learner.process,
        data.setting(),
        learner.network,
        averages,
        dataset,
        evaluation,
        job["seed"],
        learner.images_seen,
        Path(job["cache"]),
        device,
        pause,
        learner.companion_network,
    )
    cost = sample_gflops(candidate, data.setting(), job["gflops"])
    return [{**row, "sample_gflops": cost} for row in rows]


def restored(job: Job, folder: Path, candidate: Candidate, data: Data) -> tuple[Learner, Dataset, Snapshots]:
    """A trial's learner as it was at its end, the data that it was trained on, and its snapshots.

    Raises InputError where its weights are gone or do not fit, OtherDataError where the data are others.
    """
    device = torch.device(job["device"])
    dataset = dataset_for(job, data)
    images = images_of(data, job["cache"], device)
    checkpoint = newest(folder / "checkpoint", str(device))
    if checkpoint is None:
        raise InputError("its checkpoint is gone, so there are no weights to measure", str(folder / "checkpoint"))
    record = records.whole(folder)
    wanted = checkpoint.images if record is None else record["images"]
    if checkpoint.images != wanted:
        told = f"the weights after {wanted} images are damaged or gone, and what is left is of {checkpoint.images}"
        raise InputError(f"{told}: a measurement of half a training is none of the trial", str(folder / "checkpoint"))
    trained_on = checkpoint.facts.get("sources", {}).get("data", dataset.hash)
    if trained_on != dataset.hash:
        raise datasets.OtherDataError(f"{datasets.told(data)}, of the checkpoint", trained_on, dataset.hash)
    learner = Learner(candidate, data.setting(), images, job["seed"], device, None)
    try:
        learner.load(checkpoint)
    except (RuntimeError, KeyError, ValueError):
        told = "its weights do not fit the network that is built today: they were trained with other source code"
        raise InputError(told, str(folder / "checkpoint")) from None
    kept = Snapshots(folder / "snapshots")
    kept.expect(checkpoint.facts.get("snapshots", {}))
    return learner, dataset, kept


def averages_of(learner: Learner, kept: Snapshots, wanted: list[str | float] | None) -> dict[str, Any]:
    """The averages that are asked for, by label or by relative length; the study's own where none is."""
    ema = learner.candidate.ema
    held = {**learner.average.weights(), **ema.measured(learner.average, kept)}
    if wanted is None:
        own = next(iter(ema.measured(learner.average, kept)))
        return {own: held[own]}
    lengths = [one for one in wanted if not isinstance(one, str)]
    missing = [one for one in wanted if isinstance(one, str) and one not in held]
    if missing:
        raise InputError(f"no average is called {missing[0]!r}; there is: {', '.join(held)}", Argument("average"))
    named = {one: held[one] for one in wanted if isinstance(one, str)}
    return {**named, **(ema.rebuild(lengths, kept) if lengths else {})}
