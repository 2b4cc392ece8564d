"""A trial run: trains, samples and measures one trial in its folder, from its newest checkpoint on.

Load the newest good checkpoint, train, sample, measure, write. Resume, retry, preemption (SIGTERM) and a lost worker
are all the same thing: run the job again. It takes JSON and gives JSON, so that it runs in this process or on another
machine that sees the folder.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from ablate.candidates.candidate import Candidate, compose, format_component
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.trial import Budget
from ablate.discovery.catalog import catalog
from ablate.evaluation.metric_evaluator import prepare_references
from ablate.evaluation.sampling import NotFiniteError
from ablate.io.files import sweep, write_json
from ablate.io.sealed import sealed
from ablate.kinds.data import Data, image_setting
from ablate.kinds.executor import Job, Stop
from ablate.kinds.probe import Probe
from ablate.runtime.isolation import Watch
from ablate.runtime.memory import Gauge, release_memory
from ablate.spec.component import Component
from ablate.spec.slots import create, fill
from ablate.training.checkpoint import CHECKPOINTS, keep_newest
from ablate.training.divergence import weight_norm
from ablate.training.health import Divergence
from ablate.training.inheritance import INHERITED, Inheritance
from ablate.training.learner import Learner
from ablate.training.loop import Steps, Training
from ablate.training.probing import Probing
from ablate.training.prolonged import BEGUN, ShorterTraining
from ablate.worker import records, sources, teachers
from ablate.worker.exclusive import alone_in_folder, alone_in_process, pause_of
from ablate.worker.loading import data_of, dataset_for, images_of
from ablate.worker.messages import Record, TrialJob, WorkerReport, trial_job
from ablate.worker.out_of_memory import with_sampling_batch
from ablate.worker.previews import PREVIEWS
from ablate.worker.ranks import RankLostError, with_ranks
from ablate.worker.reports import report_of
from ablate.worker.teacher_weights import trained_weights
from ablate.worker.trial_evaluation import TrialEvaluation

WEIGHT_POINTS = 17  # levels at which the effective weighting is recorded
SAMPLES = ("samples.npy", "samples.png", "samples.json", PREVIEWS)  # what a record answers for


class Shared(NamedTuple):
    """What is a trial's own where several are trained as one."""

    clock: Callable[[], float]
    settle: Callable[[], None]  # waits for the device, on everybody's account
    memory: Gauge
    facts: Mapping[str, Any]  # keys of its record


def run(job: Job, stop: Stop) -> WorkerReport:
    """Run one job to its end; other exceptions than those of memory and disk pass.

    The report's status is `done`, `diverged` or, where the job says `until`, `paused`, with the `record`; `oom`; or,
    with the `errno`, `failed` where the disk is full. Raises Stopped soon after `stop()` has become true; the folder
    resumes.
    """
    if "members" in job:
        from ablate.worker.pack_run import run_pack

        return run_pack(job, stop)
    try:
        with alone_in_process(job, stop) as stop_in_turn:
            checked = trial_job(job)
            return _prepare(checked, stop_in_turn) if checked.get("prepare") else _run(checked, stop_in_turn)
    except Exception as error:
        traceback.clear_frames(error.__traceback__)  # their tensors are large, and the next job may need the memory
        report = report_of(job, error)
        if report is None and isinstance(error, RankLostError):
            report = {"job": job["job"], "status": "lost", "message": str(error)}
        if report is None:
            raise
        return report
    finally:
        release_memory(torch.device(job["device"]))


def get_ready() -> None:
    """Import what the first job would wait for: the plugins, and what torch imports with its first optimizer."""
    catalog()
    importlib.import_module("torch._dynamo")


def _run(job: TrialJob, stop: Stop) -> WorkerReport:
    folder = Path(job["folder"])
    with alone_in_folder(folder, stop):
        record = records.take(folder, job)
        if record is None:
            sweep(folder)
            records.forget_progress(folder)  # of an earlier worker
            write_json(folder / records.JOB, sealed(job), durable=False)
            trial = TrialRun(job, folder, stop)
            record = records.write(folder, trial.run(), trial.beside())
            records.forget_progress(folder)
    status = records.STATUS[record["state"]]
    return {"job": job["job"], "status": status, "record": record, "host": socket.gethostname()}


class TrialRun:
    """One run of a trial, with all that it needs in memory: data, network, optimizer, evaluation.

    shared: of a trial that is trained with others as one: its own clock, a gauge, and what its record says of it.
    """

    def __init__(self, job: TrialJob, folder: Path, stop: Stop, shared: Shared | None = None) -> None:
        self._clock = time.monotonic if shared is None else shared.clock
        self.begun = self._clock()
        self.job = job
        self.folder = folder
        self.device = torch.device(job["device"])
        self.memory = Gauge(self.device) if shared is None else shared.memory
        self._facts = {} if shared is None else shared.facts
        catalog = sources.checked_catalog(job)
        watch = Watch()
        with watch.over("this candidate, while it is put together,"):
            self.candidate: Candidate = compose(job["candidate"], catalog)
            evaluation = with_sampling_batch(job, fill(Evaluation, job["evaluation"], catalog))
            data = data_of(job, catalog)
            self.setting = image_setting(data)
        with watch.over(f"{format_component(data)}, while it is loaded,"):
            self.dataset = dataset_for(job, data)
            images = images_of(data, job["cache"], self.device)
        self.evaluation = TrialEvaluation(job, folder, self.candidate, self.setting, self.dataset, evaluation)

        beginning, weights = trained_weights(job, self.candidate, self.setting, catalog, self.device)
        self.teacher: dict[str, str] | None = None  # of the record
        if (teacher := job.get("teacher")) is not None:
            self.teacher = {"trial": teacher["trial"], "weights": str(teachers.weights_hash(Path(teacher["folder"])))}
        self.inherited = beginning.facts if isinstance(beginning, Inheritance) else {}  # of the record
        settled = (self.setting, images, job["seed"], self.device, job.get("micro"), weights)
        waits = self.candidate.is_sharded  # until the others have joined
        make = partial(Learner, self.candidate, *settled, beginning=beginning, waits=waits)
        budget = fill(Budget, job["budget"], catalog)
        probes = [create(Probe, spec, catalog) for spec in job.get("probes", ())]
        probing = Probing(probes, job["seed"])
        parts = _training_parts(self.candidate, data, probes)
        trained_on = sources.hashes_of(parts, catalog) if "sources" in job else {}
        trained_on["data"] = self.dataset.hash
        if self.teacher is not None:
            trained_on["teacher"] = self.teacher["weights"]
        # Of a forward pass in training; the driver has built the network, and counted it.
        gflops = cast(float, job.get("train_pass_gflops", job["gflops"]))
        self.memory.begin_training()
        try:
            self.training = Training(
                make,
                budget,
                gflops,
                folder,
                stop,
                probing,
                self.memory,
                trained_on,
                evaluation,
                lambda: self.evaluation.during(self.training),
                job.get("sources"),
                job.get("until"),
                ShorterTraining.of(job),
                job.get("checkpoints", ()),
                None if shared is None else shared.clock,
                None if shared is None else shared.settle,
            )
        except BaseException:  # such as a network for which there is no room
            self.memory.end_training()
            raise

    def run(self) -> Record:
        """Train, sample and measure the trial, and return its record; of one that pauses, what there is so far."""
        return self.training.drive(self.steps())

    def steps(self) -> Steps[Record]:
        """Do what `run` does, and ask the caller for each step of the training."""
        training = self.training
        before = training.seconds + training.quality.seconds  # by earlier runs of this trial
        try:
            with with_ranks(self.job, training):
                divergence = yield from training.steps()
        finally:
            self.memory.end_training()
        rows: list[dict[str, Any]] = []
        begun = time.monotonic()
        if divergence is None and not training.is_paused:
            try:
                rows = self.evaluation.end(training)
            except NotFiniteError as error:
                divergence = self._diverged_in_sampling(error)
        measuring = training.quality.seconds + time.monotonic() - begun
        rows += training.quality.rows  # after those of the end, which count
        if training.is_paused:
            keep_newest(self.folder / CHECKPOINTS)
        return self._record(rows, divergence, measuring, before + self._clock() - self.begun)

    def beside(self) -> dict[str, Any]:
        """Return what stands beside the record: the job, the training's curve, and what probes observed."""
        beside = {records.JOB: dict(self.job), records.CURVE: self.training.curve.rows}
        probing = self.training.probing
        if probing.axes():
            beside[records.PROBES] = sealed({"schema": 1, "axes": probing.axes(), "rows": probing.rows()})
        return beside

    def _diverged_in_sampling(self, error: NotFiniteError) -> Divergence:
        learner = self.training.learner
        return {
            "step": learner.steps_done,
            "images": learner.images_seen,
            "module": "sampling",
            "message": str(error),
            "log_snr": None,
            "worst": [],
            "last": self.training.health.last,
            "weight_norm": weight_norm(learner.network),
        }

    def _record(
        self, rows: list[dict[str, Any]], divergence: Divergence | None, measuring: float, wall: float
    ) -> Record:
        """Return the record. measuring: seconds; wall: seconds of all runs of this trial."""
        job: Job = self.job
        training, learner, probing = self.training, self.training.learner, self.training.probing
        quality = training.quality
        record = {
            "schema": 1,
            **{key: job[key] for key in ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")},
            **{
                key: job[key]
                for key in ("matched", "sample_gflops", "train_pass_gflops", "trainable_params")
                if key in job
            },
            "state": self._state(divergence),
            "images": learner.images_seen if divergence is None else divergence["images"],
            "loss": training.curve.final_loss() if divergence is None else None,
            "seconds": wall,
            "train_seconds": training.seconds,
            "evaluate_seconds": measuring,
            "overhead_seconds": wall - training.seconds - measuring,  # set-up, logging, checkpoints
            "ended": time.time(),
            "peak_memory_bytes": self.memory.peak,
            "train_memory_bytes": self.memory.training,
            "estimated_memory_bytes": self.job.get("estimated_memory_bytes"),
            "device": _device_name(self.device),
            "host": socket.gethostname(),
            **{key: job[key] for key in ("hashes", "sources") if key in job},
            "versions": versions(),
            "data_hash": self.dataset.hash,
            "metrics": rows,
            **({"train_seconds_at": quality.train_seconds} if quality.train_seconds else {}),
            **({"unmeasured": quality.unmeasured} if quality.unmeasured else {}),
            **({"shares": quality.shares} if quality.shares else {}),
            "weighting": self._weighting(learner),
            "divergence": divergence,
            "files": records.hashes(self.folder, SAMPLES),
            **({"companion_loss": learner.companion_loss} if learner.companion_loss is not None else {}),
            **({"probes": probing.summaries()} if probing.axes() else {}),
            **self.evaluation.looks,
            **({"skipped_steps": training.health.skipped} if learner.scaler.is_enabled() else {}),
            **self._facts,
            **({"micro": learner.micro} if learner.micro * self.candidate.devices < self.candidate.batch else {}),
            **_compilation(learner),
            **self._capture(),
            **({"devices": self.candidate.devices} if self.candidate.devices > 1 else {}),
            **({"device_busy": training.busy.share} if training.busy.share is not None else {}),
            **({"teacher": self.teacher} if self.teacher is not None else {}),
            **({INHERITED: self.inherited} if self.inherited else {}),
            **({BEGUN: training.continued_from} if training.continued_from is not None else {}),
        }
        return cast(Record, record)

    def _capture(self) -> dict[str, Any]:
        """Return what a record says of captured steps and samples; nothing where they were not asked for."""
        step, samples = self.training.learner.captured, self.evaluation.captured
        if step is None or samples is None:
            return {}
        return {"capture": {**step.result._asdict(), "sampling": samples.result._asdict()}}

    def _state(self, divergence: Divergence | None) -> str:
        if divergence is not None:
            return records.DIVERGED
        return records.PAUSED if self.training.is_paused else records.COMPLETE

    def _weighting(self, learner: Learner) -> list[dict[str, float]]:
        """Return the effective weight on the squared x0-error over log SNR."""
        at = torch.device("cpu") if self.device.type == "mps" else self.device  # which has no fp64
        t = torch.linspace(0, 1, WEIGHT_POINTS + 2, dtype=torch.float64, device=at)[1:-1]
        with torch.no_grad():
            weights = learner.process.x0_weight(learner.process.level(t)).tolist()
        pairs = zip(learner.candidate.schedule.log_snr(t).tolist(), weights, strict=True)
        return [{"log_snr": snr, "x0_weight": weight} for snr, weight in pairs if np.isfinite([snr, weight]).all()]


def _compilation(learner: Learner) -> dict[str, Any]:
    """Return what a record says of compiling the network; nothing where that was not asked for."""
    if learner.compiled is None:
        return {}
    facts = learner.compiled.result
    return {
        "compile_seconds": facts.seconds,
        "compile": {"mode": facts.mode, "graphs": facts.graphs, "eager": facts.eager},
    }


def _prepare(job: TrialJob, stop: Stop) -> WorkerReport:
    """Compute what all trials share, once: the cached data and the features of the reference."""
    catalog = sources.checked_catalog(job)
    dataset = dataset_for(job, data_of(job, catalog))
    metrics = fill(Evaluation, job["evaluation"], catalog).metrics
    prepare_references(metrics, dataset, Path(job["cache"]), torch.device(job["device"]), pause_of(stop))
    return {"job": job["job"], "status": "done", "data_hash": dataset.hash}


def _training_parts(candidate: Candidate, data: Data, probes: list[Probe]) -> Iterator[Component]:
    """Yield the components that a checkpoint depends on; a solver or a metric that is mended costs no training."""
    yield from (part for path, part in candidate.parts() if path[0] != "solver")
    for component in (data, *probes):
        yield from (part for _, part in component.parts())


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of what results are computed with."""
    packages = {name: importlib.metadata.version(name) for name in ("ablate", "torch", "numpy")}
    return {**packages, "python": platform.python_version()}
