"""Whether a training can go on from the checkpoint of a shorter one, so that it comes to the same as from nothing.

Everything that decides a step is compared: candidate, source, data, device, what looks on. What is told how long the
whole training is says until when it does the same (`Component.same_until`). Points of the training at which quality is
measured must have been measured at the same images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.candidates.candidate import Candidate
from ablate.candidates.evaluation import Evaluation, EvaluationPoints
from ablate.candidates.objectives import TRAIN_PASS
from ablate.candidates.trial import Budget
from ablate.io.sealed import DamagedError
from ablate.kinds.probe import Probe
from ablate.training.checkpoint import CHECKPOINTS, KEPT, facts_of
from ablate.training.prolonged import ShorterTraining
from ablate.training.quality import OTHER_SOURCE
from ablate.worker import records
from ablate.worker.messages import TrialJob

TORCH = "torch"
BEFORE = {
    "compile": "none",
    "layout": "contiguous",
    "capture": "none",
    "devices": 1,
}  # of candidates of earlier versions


@dataclass(frozen=True)
class LongerTraining:
    """A training of so many images that may begin where a shorter one of the same candidate and seed has been."""

    job: TrialJob
    candidate: Candidate
    evaluation: Evaluation
    probes: tuple[Probe, ...]
    images: int
    versions: Mapping[str, str]  # of packages, by which it will be trained

    def begin(self, trial: Path, study: str) -> ShorterTraining | str:
        """Return the newest checkpoint of a trial from which it can begin, or one line on why from none.

        study: the folder of the trial's study, as a record calls it.
        """
        try:
            shorter = records.job(trial)
            budget = Budget(**shorter["budget"])
        except (OSError, DamagedError, KeyError, TypeError, ValueError):
            return "its job is gone, or does not count"
        length = budget.images_for(self.candidate.batch, shorter.get(TRAIN_PASS) or shorter.get("gflops") or 0.0)
        if length is None:
            return "time decided how long it was trained"
        if length >= self.images:
            return f"it was trained on {length:,} images, which is no less"
        if (why := self._differs(trial, shorter) or self._looked_otherwise(shorter, length)) is not None:
            return why
        return self._newest(trial, length, study)

    def _differs(self, trial: Path, shorter: Mapping[str, Any]) -> str | None:
        """Return what decides a step of training and was another; None where nothing was."""
        job: Mapping[str, Any] = self.job
        if shorter.get("micro"):
            return f"for want of memory it was trained in parts of {shorter['micro']} images"
        if {**BEFORE, **(shorter.get("candidate") or {})} != {**BEFORE, **job["candidate"]}:
            return "it was trained with another micro, recompute, compile, layout, capture or devices"
        if shorter.get("device") != job.get("device"):
            return f"it was trained on {shorter.get('device')}"
        if shorter.get("hashes") != job.get("hashes"):
            return "its source was hashed otherwise"
        record = records.read_valid(trial) or records.read_valid(trial, records.PAUSE)
        then = None if record is None else record.get("versions", {}).get(TORCH)
        return None if then in (None, self.versions.get(TORCH)) else f"it was trained with torch {then}"

    def _looked_otherwise(self, shorter: Mapping[str, Any], length: int) -> str | None:
        """Return why what looked on would have looked at other times; None where not."""
        before = {probe.get("type"): probe for probe in shorter.get("probes", ())}
        for probe in self.probes:
            if before.get(probe.spec()["type"]) != probe.spec():
                return f"probe {probe.name!r} did not look on"
            if probe.interval(self.candidate.batch, length) != probe.interval(self.candidate.batch, self.images):
                return f"probe {probe.name!r} looks at shares of the training (say its `every`, in images)"
        return None

    def _newest(self, trial: Path, length: int, study: str) -> ShorterTraining | str:
        """Return the newest checkpoint that lies early enough and has all points before it, or why there is none."""
        until, who = self._same_until(length)
        files = sorted({file.stem: file for file in _checkpoints(trial)}.items(), reverse=True)
        if not files:
            return "there is no checkpoint of it"
        early = [file for stem, file in files if int(stem) <= min(until, self.images - 1)]
        if not early:
            follows = f"{who} follows the length of the training from {until:,.0f} images on"
            return f"{follows}, and its first checkpoint is of {int(files[-1][0]):,}"
        why = "its checkpoint does not count"
        for file in early:
            facts = facts_of(file)
            found = why if facts is None else self._unfit(facts, int(file.stem))
            if found is None:
                return ShorterTraining(trial, int(file.stem), study)
            why = found
        return why

    def _same_until(self, length: int) -> tuple[float, str]:
        """Return until how many images the shorter training does the same, and which component says so."""
        bounds = ((part.same_until(length), f"{part.kind} {part.name!r}") for _, part in self.candidate.parts())
        return min(bounds, default=(math.inf, ""))

    def _unfit(self, facts: Mapping[str, Any], images: int) -> str | None:
        """Return why the training cannot begin with a checkpoint; None where it can."""
        now: Mapping[str, Any] = self.job.get("sources") or {}
        for name, then in (facts.get("sources") or {}).items():
            if name == "data" and self.job.get("data_hash") not in (None, then):
                return "it was trained on other data"
            if name != "data" and now.get(name) != then:
                return f"it was trained with other source ({name})"
        quality = facts.get("quality") or {}
        missing = [point for point in self._points(images) if not self._was_measured(quality, point)]
        if missing:
            return f"its quality after {missing[0]:,} images, which evaluate asks for now, was not measured"
        return None

    def _points(self, images: int) -> Iterator[int]:
        """Yield the points of this training that lie before a checkpoint; the one at it is measured anew."""
        points = EvaluationPoints(self.evaluation, self.candidate.batch, self.images)
        yield from (point for _, point in points.at if point < images)

    def _was_measured(self, quality: Mapping[str, Any], point: int) -> bool:
        if quality.get("sources") != dict(self.job.get("sources") or {}):
            return False
        why = quality.get("unmeasured", {}).get(str(point))
        rows = [row for row in quality.get("rows", ()) if row["images"] == point]
        wanted = self.evaluation.samples_during
        return (bool(rows) and all(row["samples"] == wanted for row in rows)) or (
            why is not None and why != OTHER_SOURCE
        )


def _checkpoints(trial: Path) -> Iterator[Path]:
    """Yield the files of a trial's checkpoints that count, those that stay for good first."""
    for folder in (KEPT, CHECKPOINTS):
        yield from (trial / folder).glob("[0-9]*.json")
