"""A segment: a trial's folder goes in, and comes out further on.

Load the newest good checkpoint, train, sample, measure, write. Resume, retry, preemption and a lost
worker are all the same thing: run the segment again. It takes JSON and gives JSON, so that it runs
in this process or on another machine that sees the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate.candidate import Candidate, compose
from ablate.checkpoint import newest, save
from ablate.component import create, fill
from ablate.divergence import first_bad_module
from ablate.evaluate import measure, reference_features
from ablate.files import read_json, write_json, write_with
from ablate.kinds.data import Data, Dataset
from ablate.kinds.executor import Job, Report, Stop, Stopped
from ablate.memory import out_of_memory, peak_memory, reset_peak_memory
from ablate.preview import contact_sheet
from ablate.registry import Catalog, catalog
from ablate.train import Images, Learner
from ablate.trial import Budget, Evaluation

ROWS = 100  # of the curve, over a whole training
CHECKPOINT_SECONDS = 60.0
PROGRESS_SECONDS = 1.0
WEIGHT_POINTS = 17  # levels at which the effective weighting is recorded


class DivergedError(Exception):
    """A loss or gradient that is not finite; the numbers say where."""

    def __init__(self, step: int) -> None:
        super().__init__(f"not finite at step {step}")
        self.step = step


def run(job: Job, stop: Stop) -> Report:
    """Run one job to its end. The report's status is `done`, `diverged` or `oom`; other exceptions pass.

    Raises Stopped soon after `stop()` has become true; the folder resumes.
    """
    if job.get("threads"):
        torch.set_num_threads(int(job["threads"]))
    if job.get("prepare"):
        return _prepare(job)
    folder = Path(job["folder"])
    with _alone(folder):
        if (folder / "record.json").is_file():
            record = read_json(folder / "record.json")
        else:
            write_json(folder / "job.json", dict(job))
            try:
                record = Segment(job, folder, stop).run()
            except Exception as error:
                if out_of_memory(error):
                    return {"job": job["job"], "status": "oom", "message": str(error).splitlines()[0]}
                raise
            write_json(folder / "record.json", record)
            (folder / "progress.json").unlink(missing_ok=True)
    status = "diverged" if record["state"] == "diverged" else "done"
    return {"job": job["job"], "status": status, "record": record}


class Segment:
    """One job with everything it needs in memory."""

    def __init__(self, job: Job, folder: Path, stop: Stop) -> None:
        self.begun = time.monotonic()
        self.job = job
        self.folder = folder
        self.stop = stop
        self.device = torch.device(job["device"])
        known = catalog(tuple(job["plugins"]))
        self.candidate: Candidate = compose(job["candidate"], known)
        self.evaluation = fill(Evaluation, job["evaluation"], known)
        self.budget = fill(Budget, job["budget"], known)
        data = _data(job, known)
        self.setting = data.setting()
        self.dataset = _dataset(data, job["cache"])
        self.images = _images(data, job["cache"], self.device)
        self.total = self.budget.images_for(self.candidate.batch, job["gflops"])
        self.curve: list[dict[str, Any]] = []
        self.train_seconds = 0.0
        self._reported = 0.0

    def run(self) -> dict[str, Any]:
        """Train and measure; the record."""
        reset_peak_memory(self.device)
        learner = self._learner()
        before = self.train_seconds  # spent by earlier segments of this trial
        divergence = None
        rows: list[dict[str, Any]] = []
        measuring = 0.0
        try:
            self._train(learner)
            begun = time.monotonic()
            rows = self._measure(learner)
            measuring = time.monotonic() - begun
        except DivergedError as error:
            divergence = self._diagnose(error.step)
        write_json(self.folder / "curve.json", self.curve)
        wall = before + time.monotonic() - self.begun
        return {
            "schema": 1,
            **{key: self.job[key] for key in ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")},
            "state": "complete" if divergence is None else "diverged",
            "images": learner.images_seen,
            "loss": self._final_loss() if divergence is None else None,
            "seconds": wall,
            "train_seconds": self.train_seconds,
            "evaluate_seconds": measuring,
            "overhead_seconds": wall - self.train_seconds - measuring,  # set-up, logging, checkpoints
            "peak_memory_bytes": peak_memory(self.device),
            "device": _device_name(self.device),
            "versions": _versions(),
            "data_hash": self.dataset.hash,
            "metrics": rows,
            "weighting": self._weighting(learner),
            "divergence": divergence,
        }

    def _learner(self) -> Learner:
        """A learner that stands where the newest good checkpoint left off."""
        job = self.job
        learner = Learner(self.candidate, self.setting, self.images, job["seed"], self.device, job.get("micro"))
        checkpoint = newest(self.folder / "checkpoint", str(self.device))
        if checkpoint is not None:
            learner.load(checkpoint)
            self.curve = list(checkpoint.facts["curve"])
            self.train_seconds = checkpoint.facts["seconds"]
        return learner

    def _train(self, learner: Learner) -> None:
        """Steps until the budget is spent, with a row of the curve, a sign of life and a checkpoint now and then."""
        batch = self.candidate.batch
        every = max(1, (self.total // batch if self.total else 5000) // ROWS)
        clock, last_save, since = time.monotonic(), time.monotonic(), learner.steps_done
        if self._spent(learner):
            return
        losses, norms = [], []
        learner.network.train()
        while True:
            step = learner.step(self._horizon())
            losses.append(step.loss)
            norms.append(step.gradient_norm)
            self._pause()
            over = self.total is not None and step.images >= self.total
            if not over and step.number % every:
                continue
            values = torch.stack(losses + norms).tolist()  # the one place that waits for the device
            now = time.monotonic()
            self.train_seconds += now - clock
            self._check(values[: len(losses)], values[len(losses) :], since)
            mean = [sum(part) / len(losses) for part in (values[: len(losses)], values[len(losses) :])]
            speed = (step.number - since) * batch / max(now - clock, 1e-9)
            self.curve.append(
                {
                    "images": step.images,
                    "loss": mean[0],
                    "lr": step.rate,
                    "grad_norm": mean[1],
                    "images_per_second": speed,
                    "seconds": self.train_seconds,
                }
            )
            clock, since, losses, norms = now, step.number, [], []
            self._report("train", step.images, mean[0], speed)
            if self._spent(learner):
                break
            if now - last_save > CHECKPOINT_SECONDS:
                self._save(learner)
                last_save = clock = time.monotonic()
        self._save(learner)

    def _measure(self, learner: Learner) -> list[dict[str, Any]]:
        self._report("measure", learner.images_seen, None, None)
        rows, shown = measure(
            self.candidate,
            learner.process,
            self.setting,
            learner.network,
            learner.average.weights(),
            self.dataset,
            self.evaluation,
            self.job["seed"],
            learner.images_seen,
            Path(self.job["cache"]),
            self.device,
            self._pause,
        )
        if len(shown):
            write_with(self.folder / "samples.npy", lambda file: _save_array(file, shown))
            write_with(self.folder / "samples.png", lambda file: contact_sheet(shown).save(file, "PNG"))
        return rows

    def _diagnose(self, step: int) -> dict[str, Any]:
        """Go back to the last checkpoint, and again up to the step that failed; then look at every module."""
        learner = self._learner()
        learner.network.train()
        while learner.steps_done < step - 1:
            learner.step(self._horizon())
        module, message = first_bad_module(learner)
        return {"step": step, "images": step * self.candidate.batch, "module": module, "message": message}

    def _check(self, losses: list[float], norms: list[float], since: int) -> None:
        for i, pair in enumerate(zip(losses, norms, strict=True)):
            if not np.isfinite(pair).all():
                raise DivergedError(since + i + 1)

    def _spent(self, learner: Learner) -> bool:
        if self.budget.minutes is not None:
            return self.train_seconds >= 60 * self.budget.minutes
        return self.total is not None and learner.images_seen >= self.total

    def _horizon(self) -> float:
        """Images that the learning rate plans for; with a budget of minutes, what the speed so far promises."""
        if self.total is not None:
            return float(self.total)
        assert self.budget.minutes is not None
        if not self.curve:
            return float("inf")
        speed: float = self.curve[-1]["images"] / max(self.train_seconds, 1e-9)
        return speed * 60 * self.budget.minutes

    def _save(self, learner: Learner) -> None:
        facts = {"curve": self.curve, "seconds": self.train_seconds}
        save(self.folder / "checkpoint", learner.state(facts))

    def _final_loss(self) -> float | None:
        """The training loss over the last tenth of the curve."""
        last = self.curve[-max(1, len(self.curve) // 10) :]
        return sum(row["loss"] for row in last) / len(last) if last else None

    def _weighting(self, learner: Learner) -> list[dict[str, float]]:
        """The effective weight on the squared x0-error over log SNR."""
        t = torch.linspace(0, 1, WEIGHT_POINTS + 2, dtype=torch.float64)[1:-1]
        level = learner.process.level(t)
        weights = learner.process.x0_weight(level).tolist()
        pairs = zip(self.candidate.schedule.log_snr(t).tolist(), weights, strict=True)
        return [{"log_snr": snr, "x0_weight": weight} for snr, weight in pairs if np.isfinite([snr, weight]).all()]

    def _report(self, phase: str, images: int, loss: float | None, speed: float | None) -> None:
        """A sign of life for whoever watches the folder; not worth an fsync."""
        now = time.monotonic()
        if phase == "train" and now - self._reported < PROGRESS_SECONDS:
            return
        self._reported = now
        progress = {"phase": phase, "images": images, "total": self.total, "loss": loss, "images_per_second": speed}
        with contextlib.suppress(OSError):
            write_json(self.folder / "progress.json", progress, durable=False)

    def _pause(self) -> None:
        """Stop here if the executor wants the worker back."""
        if self.stop():
            raise Stopped


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process works on the folder: after a killed driver, its worker may linger."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _prepare(job: Job) -> Report:
    """Make what all trials share, once: the cached data and the reference's features."""
    known = catalog(tuple(job["plugins"]))
    dataset = _dataset(_data(job, known), job["cache"])
    for metric in fill(Evaluation, job["evaluation"], known).metrics:
        reference_features(metric.features, dataset, Path(job["cache"]), torch.device(job["device"]))
    return {"job": job["job"], "status": "done", "data_hash": dataset.hash}


def _data(job: Job, known: Catalog) -> Data:
    made = create(Data, job["data"], known)
    assert isinstance(made, Data)
    return made


@lru_cache(maxsize=2)
def _dataset(data: Data, cache: str) -> Dataset:
    return data.load(Path(cache))


@lru_cache(maxsize=2)
def _images(data: Data, cache: str, device: torch.device) -> Images:
    return Images(_dataset(data, cache), device)


def _save_array(file: Path, array: np.ndarray[Any, Any]) -> None:
    with file.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("ablate", "torch", "numpy")}
    return {**found, "python": platform.python_version()}
