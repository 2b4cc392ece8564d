"""A trial run: one trial is trained, sampled and measured in its folder, from its newest checkpoint on.

Load the newest good checkpoint, train, sample, measure, write. Resume, retry, preemption (SIGTERM) and a lost
worker are all the same thing: run the job again. It takes JSON and gives JSON, so that it runs
in this process or on another machine that sees the folder.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import platform
import socket
import time
import traceback
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ablate.candidates.candidate import Candidate, called, compose
from ablate.candidates.sample_cost import sample_gflops
from ablate.candidates.trial import Budget, Evaluation
from ablate.discovery.catalog import Catalog
from ablate.errors import InputError
from ablate.evaluation.measure import NotFiniteError, measure
from ablate.evaluation.metric_evaluator import prepare_references
from ablate.evaluation.noisiness import noise
from ablate.evaluation.preview import contact_sheet
from ablate.io.files import sweep, write_atomic, write_json
from ablate.io.locks import locked
from ablate.io.sealed import sealed
from ablate.kinds.data import Data, Dataset
from ablate.kinds.executor import Job, Status, Stop, Stopped
from ablate.kinds.probe import Probe
from ablate.runtime.isolation import TURNS, Before, isolated, watched
from ablate.runtime.memory import Gauge, out_of_memory, release_memory
from ablate.spec.component import Component
from ablate.spec.slots import create, fill
from ablate.training.divergence import weight_norm
from ablate.training.learner import Images, Learner
from ablate.training.loop import Training
from ablate.training.probing import Probing
from ablate.worker import datasets, records, sources
from ablate.worker.messages import Record, TrialJob, WorkerReport, trial_job
from ablate.worker.out_of_memory import MeasuringOutOfMemoryError, with_sampling_batch
from ablate.worker.reports import report_of

WEIGHT_POINTS = 17  # levels at which the effective weighting is recorded
BESIDE = ("curve.json", "samples.npy", "samples.png")  # what a record answers for


def run(job: Job, stop: Stop) -> WorkerReport:
    """Run one job to its end; other exceptions than those of memory and disk pass.

    The report's status is `done` or `diverged` with the `record`, `oom`, or, with the `errno`,
    `failed` where the disk is full. Raises Stopped soon after `stop()` has become true; the folder resumes.
    """
    try:
        with alone_in_process(job, stop) as asked:
            typed = trial_job(job)
            return _prepare(typed, asked) if typed.get("prepare") else _run(typed, asked)
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # what they hold is large, and may be needed by the next
        report = report_of(job, error)
        if report is None:
            raise
        return report
    finally:
        release_memory(torch.device(job["device"]))


@contextlib.contextmanager
def alone_in_process(job: Job, stop: Stop) -> Iterator[Stop]:
    """Isolate a job in its process: its CPU threads, its turn, and global state put back after it.

    Gives the `stop` that the job has to ask. Raises GlobalStateError where a component changed what is
    global, unless the job ended in another way before.
    """

    def asked() -> bool:
        TURNS.pause()
        return stop()

    with TURNS.working(), isolated():
        if job.get("threads"):
            torch.set_num_threads(int(job["threads"]))
        state = Before()
        try:
            yield asked
        except Exception as error:
            if not (isinstance(error, Stopped | InputError) or out_of_memory(error)):
                state.check_failed("this candidate", error)
            raise


def _run(job: TrialJob, stop: Stop) -> WorkerReport:
    folder = Path(job["folder"])
    with alone(folder, stop):
        record = records.take(folder, job)
        if record is None:
            sweep(folder)
            (folder / "progress.json").unlink(missing_ok=True)  # of an earlier worker
            write_json(folder / "job.json", sealed(job), durable=False)
            record = records.write(folder, TrialRun(job, folder, stop).run())
            (folder / "progress.json").unlink(missing_ok=True)
    status: Status = "diverged" if record["state"] == records.DIVERGED else "done"
    return {"job": job["job"], "status": status, "record": record, "host": socket.gethostname()}


class TrialRun:
    """One trial's job with everything it needs in memory: data, network, optimizer, evaluation."""

    def __init__(self, job: TrialJob, folder: Path, stop: Stop) -> None:
        self.begun = time.monotonic()
        self.noise: float | None = None  # of the samples: see `ablate.evaluation.noisiness`
        self.job = job
        self.folder = folder
        self.device = torch.device(job["device"])
        self.memory = Gauge(self.device)
        known = sources.known(job)
        with watched("this candidate, while it is put together,"):
            self.candidate: Candidate = compose(job["candidate"], known)
            self.evaluation = with_sampling_batch(job, fill(Evaluation, job["evaluation"], known))
            data = data_of(job, known)
            self.setting = data.setting()
        with watched(f"{called(data)}, while it is loaded,"):
            self.dataset = dataset_for(job, data)
            images = images_of(data, job["cache"], self.device)

        make = partial(Learner, self.candidate, self.setting, images, job["seed"], self.device, job.get("micro"))
        budget = fill(Budget, job["budget"], known)
        probes = _probes(job, known)
        probing = Probing(probes, job["seed"])
        trained = sources.of(_trained_by(self.candidate, data, probes), known) if "sources" in job else {}
        trained["data"] = self.dataset.hash
        gflops = cast(float, job["gflops"])  # the driver has built the network, and counted it
        self.memory.begin_training()
        try:
            self.training = Training(make, budget, gflops, folder, stop, probing, self.memory, trained)
        except BaseException:  # such as a network for which there is no room
            self.memory.end_training()
            raise

    def run(self) -> Record:
        """Train, sample and measure the trial; returns its record."""
        training = self.training
        before = training.seconds  # by earlier runs of this trial
        try:
            divergence = training.run()
        finally:
            self.memory.end_training()
        rows: list[dict[str, Any]] = []
        begun = time.monotonic()
        if divergence is None:
            try:
                rows = self._measure()
            except Exception as error:
                if out_of_memory(error):
                    traceback.clear_frames(error.__traceback__)
                    raise MeasuringOutOfMemoryError(str(error)) from error
                if not isinstance(error, NotFiniteError):
                    raise
                learner = training.learner
                divergence = {
                    "step": learner.steps_done,
                    "images": learner.images_seen,
                    "module": "sampling",
                    "message": str(error),
                    "log_snr": None,
                    "worst": [],
                    "last": training.health.last,
                    "weight_norm": weight_norm(learner.network),
                }
        measuring = time.monotonic() - begun
        write_json(self.folder / "curve.json", training.curve.rows)
        probing = training.probing
        if probing.axes():
            seen = {"schema": 1, "axes": probing.axes(), "rows": probing.rows()}
            write_json(self.folder / "probes.json", sealed(seen))
        job: Job = self.job
        learner, wall = training.learner, before + time.monotonic() - self.begun
        record = {
            "schema": 1,
            **{key: job[key] for key in ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")},
            **({"matched": self.job["matched"]} if "matched" in self.job else {}),
            **({"sample_gflops": self.job["sample_gflops"]} if "sample_gflops" in self.job else {}),
            "state": "complete" if divergence is None else "diverged",
            "images": learner.images_seen if divergence is None else divergence["images"],
            "loss": training.curve.final_loss() if divergence is None else None,
            "seconds": wall,
            "train_seconds": training.seconds,
            "evaluate_seconds": measuring,
            "overhead_seconds": wall - training.seconds - measuring,  # set-up, logging, checkpoints
            "peak_memory_bytes": self.memory.peak,
            "train_memory_bytes": self.memory.training,
            "estimated_memory_bytes": self.job.get("estimated_memory_bytes"),
            "device": _device_name(self.device),
            "host": socket.gethostname(),
            **{key: job[key] for key in ("hashes", "sources") if key in job},
            "versions": versions(),
            "data_hash": self.dataset.hash,
            "metrics": rows,
            "weighting": self._weighting(learner),
            "divergence": divergence,
            "files": records.hashes(self.folder, BESIDE),
            **({"companion_loss": learner.companion_loss} if learner.companion_loss is not None else {}),
            **({"probes": probing.summaries()} if probing.axes() else {}),
            **({"noise": self.noise} if self.noise is not None else {}),
            **({"skipped_steps": training.health.skipped} if learner.scaler.is_enabled() else {}),
            **({"micro": learner.micro} if learner.micro < self.candidate.batch else {}),
        }
        return cast(Record, record)

    def _measure(self) -> list[dict[str, Any]]:
        training, learner = self.training, self.training.learner
        training.tell("measure")
        with watched("this candidate, while it is sampled and measured,"):
            rows, shown = measure(
                self.candidate,
                learner.process,
                self.setting,
                learner.network,
                self.candidate.ema.measured(learner.average, training.snapshots),
                self.dataset,
                self.evaluation,
                self.job["seed"],
                learner.images_seen,
                Path(self.job["cache"]),
                self.device,
                training.pause,
                learner.companion_network,
            )
        self.noise = noise(shown, self.dataset.reference_images)
        if len(shown):
            array, picture = io.BytesIO(), io.BytesIO()
            np.save(array, shown, allow_pickle=False)
            contact_sheet(shown).save(picture, "PNG")
            write_atomic(self.folder / "samples.npy", array.getvalue())
            write_atomic(self.folder / "samples.png", picture.getvalue())
        cost = sample_gflops(self.candidate, self.setting, self.job["gflops"])
        return [{**row, "sample_gflops": cost} for row in rows]

    def _weighting(self, learner: Learner) -> list[dict[str, float]]:
        """The effective weight on the squared x0-error over log SNR."""
        t = torch.linspace(0, 1, WEIGHT_POINTS + 2, dtype=torch.float64, device=self.device)[1:-1]
        with torch.no_grad():
            weights = learner.process.x0_weight(learner.process.level(t)).tolist()
        pairs = zip(self.candidate.schedule.log_snr(t).tolist(), weights, strict=True)
        return [{"log_snr": snr, "x0_weight": weight} for snr, weight in pairs if np.isfinite([snr, weight]).all()]


@contextlib.contextmanager
def alone(folder: Path, stop: Stop) -> Iterator[None]:
    """Lock a trial's folder; wait until no other process works on it: after a killed driver, its worker may linger."""

    def pause() -> None:
        if stop():
            raise Stopped

    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", pause):
        yield


def _prepare(job: TrialJob, stop: Stop) -> WorkerReport:
    """Make what all trials share, once: the cached data and the reference's features."""

    def pause() -> None:
        if stop():
            raise Stopped

    known = sources.known(job)
    dataset = dataset_for(job, data_of(job, known))
    metrics = fill(Evaluation, job["evaluation"], known).metrics
    prepare_references(metrics, dataset, Path(job["cache"]), torch.device(job["device"]), pause)
    return {"job": job["job"], "status": "done", "data_hash": dataset.hash}


def _trained_by(candidate: Candidate, data: Data, probes: list[Probe]) -> Iterator[Component]:
    """What a checkpoint depends on; a solver or a metric that is mended costs no training."""
    yield from (part for path, part in candidate.parts() if path[0] != "solver")
    for whole in (data, *probes):
        yield from (part for _, part in whole.parts())


def _probes(job: Job, known: Catalog) -> list[Probe]:
    return [create(Probe, spec, known) for spec in job.get("probes", ())]


def data_of(job: Job, known: Catalog) -> Data:
    """The data that a job names."""
    return create(Data, job["data"], known)


@lru_cache(maxsize=2)
def dataset_of(data: Data, cache: str) -> Dataset:
    """The images, loaded once a process."""
    return data.load(Path(cache))


def dataset_for(job: Job, data: Data) -> Dataset:
    """The images of a job; raises OtherDataError where they are not those that it was made for."""
    found = dataset_of(data, job["cache"])
    if job.get("data_hash") not in (None, found.hash):  # this process may hold what lay there earlier
        dataset_of.cache_clear()
        images_of.cache_clear()
        found = dataset_of(data, job["cache"])
    datasets.check(job, data, found)
    return found


@lru_cache(maxsize=2)
def images_of(data: Data, cache: str, device: torch.device) -> Images:
    """The training images on their device, once a process."""
    return Images(dataset_of(data, cache), device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Of what a result was computed with."""
    found = {name: importlib.metadata.version(name) for name in ("ablate", "torch", "numpy")}
    return {**found, "python": platform.python_version()}
