"""The evaluation of a trial run: at points of its training, and at its end, where samples are kept too."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.candidates.candidate import Candidate
from ablate.candidates.evaluation import Evaluation
from ablate.candidates.sample_cost import sample_gflops
from ablate.errors import InputError
from ablate.evaluation.captured import CapturedSampling
from ablate.evaluation.collapse import variety
from ablate.evaluation.drawn_for import DrawnFor
from ablate.evaluation.measure import measure
from ablate.evaluation.noisiness import noise
from ablate.evaluation.preview import contact_sheet
from ablate.evaluation.sampling import NotFiniteError
from ablate.io.files import write_atomic, write_json
from ablate.kinds.data import Dataset
from ablate.kinds.ema import Kept, Weights
from ablate.runtime.isolation import watched
from ablate.spec.component import InputSpec
from ablate.training.loop import Training
from ablate.training.snapshots import SnapshotsUntilNow
from ablate.worker import previews
from ablate.worker.messages import TrialJob
from ablate.worker.out_of_memory import measuring


class TrialEvaluation:
    """Samples and measures the network of a trial. All that it draws is the same at every point: latents, labels."""

    def __init__(
        self,
        job: TrialJob,
        folder: Path,
        candidate: Candidate,
        setting: InputSpec,
        dataset: Dataset,
        evaluation: Evaluation,
    ) -> None:
        self._job = job
        self._folder = folder
        self._candidate = candidate
        self._setting = setting
        self._dataset = dataset
        self._evaluation = evaluation
        plainly = candidate.capture == "none"
        self.captured = None if plainly else CapturedSampling(candidate, torch.device(job["device"]))
        self.looks: dict[str, float] = {}  # `noise` and `variety` of the samples at the end, where they can be told

    @measuring()
    def end(self, training: Training) -> list[dict[str, Any]]:
        """Measure the quality at the end of training, and keep samples; return rows of the metrics table.

        Where it was measured during training, it is measured once more on as many samples as there. Raises
        NotFiniteError where samples are not finite.
        """
        training.tell("measure")
        averages = self._candidate.ema.measured(training.learner.average, training.snapshots)
        rows, samples = self._measure(training, averages, self._evaluation, training.snapshots)
        reference = self._dataset.reference_images
        looks = {"noise": noise(samples, reference), "variety": variety(samples, reference)}
        self.looks = {name: value for name, value in looks.items() if value is not None}
        if len(samples):
            array, picture = io.BytesIO(), io.BytesIO()
            np.save(array, samples, allow_pickle=False)
            contact_sheet(samples).save(picture, "PNG")
            write_atomic(self._folder / "samples.npy", array.getvalue(), durable=False)  # synced with the record
            write_atomic(self._folder / "samples.png", picture.getvalue(), durable=False)
            if self._dataset.conditions:
                drawn_for = DrawnFor(self._dataset, self._evaluation.samples, self._job["seed"], torch.device("cpu"))
                write_json(self._folder / "samples.json", drawn_for.described(len(samples)), durable=False)
        during = self._evaluation.during
        if during is not None and during.samples < self._evaluation.samples:
            first = dict(list(averages.items())[:1])  # the one that counts
            again, samples = self._measure(training, first, during, training.snapshots)
            rows += again
        if during is not None:
            previews.keep(self._folder, training.learner.images_seen, samples[: during.previews])
        return rows

    @measuring()
    def during(self, training: Training) -> None:
        """Measure the quality at a point of the training, into its `quality`; where that fails, note why there."""
        learner, during = training.learner, self._evaluation.during
        assert during is not None
        snapshots = SnapshotsUntilNow(training.snapshots, learner.average, learner.images_seen)
        try:
            averages = self._candidate.ema.measured_during(learner.average, snapshots)
            rows, samples = self._measure(training, averages, during, snapshots)
            training.quality.rows += rows
            if training.quality.is_pictured(learner.images_seen, training.seconds):
                previews.keep(self._folder, learner.images_seen, samples)
        except (InputError, NotFiniteError) as error:
            training.quality.unmeasured[str(learner.images_seen)] = str(error)

    def _measure(
        self, training: Training, averages: Mapping[str, Weights], evaluation: Evaluation, snapshots: Kept
    ) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
        """Return rows of the metrics table, of the network as it is now, and samples as previews."""
        learner = training.learner
        with watched("this candidate, while it is sampled and measured,"):
            rows, samples = measure(
                self._candidate,
                learner.process,
                self._setting,
                learner.network,
                averages,
                self._dataset,
                evaluation,
                self._job["seed"],
                learner.images_seen,
                Path(self._job["cache"]),
                torch.device(self._job["device"]),
                training.pause,
                learner.companion_network,
                snapshots,
                learner.averaged_sibling,
                self.captured,
            )
        cost = sample_gflops(self._candidate, self._setting, self._job["gflops"])
        return [{**row, "sample_gflops": cost} for row in rows], samples
