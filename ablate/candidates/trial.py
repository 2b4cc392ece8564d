"""A trial (one candidate, one seed, one budget): its budget, its identity and the worker's job."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from ablate.candidates.beginning import unfit_start
from ablate.candidates.candidate import BuildError, Candidate, cost_of, trainable_params
from ablate.candidates.evaluation import MOST_IMAGES, Evaluation
from ablate.candidates.objectives import TRAIN_PASS, TRAIN_PASSES
from ablate.candidates.sample_cost import sample_gflops
from ablate.errors import InputError
from ablate.io.files import digest
from ablate.kinds.data import Data
from ablate.kinds.probe import Probe
from ablate.spec.component import Config, InputSpec
from ablate.spec.fields import get

if TYPE_CHECKING:
    from ablate.candidates.flops import Cost


class Budget(Config):
    """The training budget of a candidate, in exactly one of four units."""

    images: Annotated[int | None, Field(ge=1, le=MOST_IMAGES)] = None
    steps: Annotated[int | None, Field(ge=1, le=10**9)] = None
    train_gflops: Annotated[float | None, Field(gt=0, le=1e15)] = None  # forward and backward: 3 · Gflops · images
    minutes: Annotated[float | None, Field(gt=0, le=1e7)] = None  # of training; what a machine does in it differs

    @model_validator(mode="after")
    def _exactly_one_unit(self) -> Budget:
        units = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(units) != 1:
            units_given = " and ".join(units) or "none"
            raise ValueError(f"say exactly one of images, steps, train_gflops and minutes (given: {units_given})")
        return self

    def active(self) -> dict[str, Any]:
        """Return the fields that are part of the identity: the one unit that was given."""
        return {key: value for key, value in super().active().items() if value is not None}

    def images_for(self, batch: int, gflops: float) -> int | None:
        """Return the number of images to train on, in whole steps; None where the budget is a time.

        gflops: of a forward pass in training (`Cost.trained_gflops`).

        Raises InputError where steps or Gflops come to more images than anyone can train on.
        """
        if self.images is not None:
            return batch * math.ceil(self.images / batch)
        if self.steps is not None:
            images: float = self.steps * batch
        elif self.train_gflops is not None:
            images = math.inf if gflops <= 0 else self.train_gflops / (TRAIN_PASSES * gflops)
        else:
            return None
        if images > MOST_IMAGES:
            what = f"{batch} images a step" if self.steps is not None else f"a network of {gflops:g} Gflops"
            raise InputError(
                f"budget: comes to {images:.3g} images with {what}; at most {MOST_IMAGES:,} are trained on"
            )
        return batch * max(1, round(images / batch))


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a study share: the data, the budget and the measurement."""

    data: Data
    setting: InputSpec
    budget: Budget
    evaluation: Evaluation
    matched: str | None = None  # dotted path of the size by which candidates are brought to one cost
    probes: tuple[Probe, ...] = ()  # what looks on; it decides nothing
    # Counts the Gflops of a pass in training, a third of a step, where an objective makes it another than the
    # backbone's own (`ablate.study.estimate.training_pass`); None where it does not.
    training_pass: Callable[[Candidate, InputSpec], float | None] = lambda candidate, setting: None

    def digest(self, candidate: Candidate) -> str:
        """Return the config_hash: SHA-256 over everything that decides a result, except the seed."""
        decides = [candidate, self.data, self.budget, self.evaluation]
        return digest([part.active() for part in decides])

    def cost(self, candidate: Candidate) -> Cost:
        """Count the parameters, multiply-accumulates and Gflops of the candidate on these data."""
        setting = candidate.inputs(self.setting)
        cost = cost_of(candidate.backbone, setting)
        if problem := unfit_start(candidate, setting):
            raise BuildError(problem, "start")
        if candidate.adapter.freezes:
            cost = replace(cost, trainable=trainable_params(candidate, setting))
        in_training = self.training_pass(candidate, self.setting)
        return cost if in_training is None else replace(cost, train_pass_gflops=in_training)

    def size(self, candidate: Candidate) -> dict[str, Any]:
        """Return {path: value} of the size that was adjusted to match the cost of the others; {} without matching."""
        return {self.matched: get(candidate.spec(), self.matched.split("."))} if self.matched else {}

    def jobs(
        self,
        candidate: Candidate,
        seeds: int,
        choices: Mapping[str, Any],
        plugins: tuple[str, ...],
        trials: Path,
        cost: Cost | None,
        first_seed: int = 0,
    ) -> list[dict[str, Any]]:
        """Return a candidate's jobs, one a seed from `first_seed` on: the JSON that a worker needs to run the trial.

        The trial's folder keeps it (`ablate.worker.records`).
        """
        config_hash = self.digest(candidate)
        shared = {
            "schema": 1,
            "config_hash": config_hash,
            "choices": dict(choices),
            "candidate": candidate.spec(),
            "data": self.data.spec(),
            "budget": self.budget.spec(),
            "evaluation": self.evaluation.spec(),
            "plugins": list(plugins),
            "probes": [probe.spec() for probe in self.probes],
            "params": None if cost is None else cost.params,
            "gflops": None if cost is None else cost.gflops,
            "macs": None if cost is None else cost.macs,
            "sample_gflops": None if cost is None else sample_gflops(candidate, self.setting, cost.gflops),
            **({} if cost is None or cost.train_pass_gflops is None else {TRAIN_PASS: cost.train_pass_gflops}),
            **({} if cost is None or cost.trainable is None else {"trainable_params": cost.trainable}),
            **({"matched": self.size(candidate)} if self.matched else {}),
            **({"whole_batch": True} if candidate.needs_whole_batches() else {}),
        }
        names = {seed: trial_id(config_hash, seed) for seed in range(first_seed, first_seed + seeds)}
        return [
            {**shared, "job": name, "trial": name, "folder": str(trials / name), "seed": seed}
            for seed, name in names.items()
        ]


def trial_id(config_hash: str, seed: int) -> str:
    """Return the name of a trial's folder, made of its config_hash and seed."""
    return f"{config_hash[:12]}-s{seed}"
