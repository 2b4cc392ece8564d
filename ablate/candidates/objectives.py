"""What candidates are judged by: an objective (a metric, a cost or a probe), and a constraint on one.

A study, the engine's search and the tables of results all mean the same by them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

STATIC = ("gflops", "params", "macs")  # known before a candidate is trained, and equal for all its seeds
# What a trial costs: known of every trial, smaller is better.
KNOWN_BEFOREHAND = (*STATIC, "sample_gflops")
COSTS = (
    *(*STATIC, "sample_gflops", "train_gflops", "seconds", "train_seconds", "evaluate_seconds", "overhead_seconds"),
    *("peak_memory_bytes", "train_memory_bytes", "images"),
)
TRAIN_PASS = "train_pass_gflops"  # of a job and a record whose pass in training has other Gflops than `gflops`
TRAIN = "train_gflops"  # the Gflops of a trial's whole training, forward and backward: no record holds them
SAMPLE = "sample_gflops"  # the Gflops of drawing one sample: NFE × calls that guidance takes × `gflops`
TRAIN_PASSES = 3  # forward passes that training on an image costs: one, and a backward pass that is worth two
POINT = ("loss", "train_seconds")  # stand in a record for each point of the training too
RECORDED = (*COSTS, "loss")  # what stands in a record as it is; the training loss is no cost, and no measurement either

# What tables of candidates call these costs.
COST_NAMES = {"gflops": "Gflops", SAMPLE: "Gflops a sample", TRAIN: "training Gflops"}


@dataclass(frozen=True)
class Objective:
    """Something to minimise, or to maximise where `larger_is_better`: a metric, a trial's cost or a probe's summary."""

    name: str  # as the study says it: `kid`
    column: str  # `kid_<features>`, a key of a trial's record such as `gflops`, or a probe's name
    larger_is_better: bool = False
    otherwise: str | None = None  # the metric's column where the reference has too few pictures for that name
    is_probe: bool = False

    @property
    def is_cost(self) -> bool:
        """Whether it says what a candidate costs, and not how good it is."""
        return self.column in COSTS

    @property
    def is_recorded(self) -> bool:
        """Whether it is a number of the trial's record (a cost, the loss, a probe), and not a measured metric."""
        return self.column in RECORDED or self.is_probe

    @property
    def source(self) -> str:
        """Its column in the table of trials: `gflops`, `m.<metric>` or `p.<probe>`."""
        if self.is_probe:
            return f"p.{self.column}"
        return self.column if self.is_recorded else f"m.{self.column}"

    @property
    def sign(self) -> int:
        """1 where smaller is better, −1 where larger is."""
        return -1 if self.larger_is_better else 1

    def during(self, column: str | None) -> Objective:
        """Return the objective as it is called at points of the training; None: as it is called at the end."""
        return self if column is None else replace(self, column=column, otherwise=None)

    def value_at(self, record: Mapping[str, Any], share: float) -> float | None:
        """Return the value in a trial's record at a point of the training, a share of its budget; None without one.

        Of the training loss, the training time, what was measured, and what is known before training. At share 1, the
        end, a metric's value on as many samples as at the other points.
        """
        if self.column in KNOWN_BEFOREHAND:
            return self.value(record)
        if share == 1:
            return self._value_at_end(record)
        point = record.get("shares", {}).get(share_key(share))
        if point is None:
            return None
        if self.column in POINT:
            value = point[self.column]
            return None if value is None else float(value)
        rows = [row for row in record["metrics"] if row.get("images") == point["images"]]
        return self.value({"metrics": rows})

    def _value_at_end(self, record: Mapping[str, Any]) -> float | None:
        if record.get("state") != "complete":
            return None
        if self.column in POINT:
            return self.value(record)
        rows = [row for row in record["metrics"] if row.get("images") == record["images"]]
        fewest = min((row.get("samples") or 0 for row in rows), default=0)
        return self.value({"metrics": [row for row in rows if (row.get("samples") or 0) == fewest]})

    def value(self, record: Mapping[str, Any]) -> float | None:
        """Return the value in a trial's record; None where it was not measured, or is not finite."""
        if self.column == TRAIN:
            return trained_gflops(record)
        if self.column in record:
            value = record[self.column]
            return None if value is None else float(value)
        for row in record.get("metrics", ()):  # the first average is the one that counts
            if row["metric"] in (self.column, self.otherwise):
                return None if row["value"] is None else float(row["value"])
        value = record.get("probes", {}).get(self.column)
        return None if value is None else float(value)


@dataclass(frozen=True)
class Constraint:
    """A bound that a candidate's mean over its seeds has to keep, or it is not on the Pareto front."""

    of: Objective
    at_most: float = math.inf
    at_least: float = -math.inf

    def excess(self, value: float) -> float:
        """Return how far a value lies beyond the bounds; 0 or less within them."""
        return max(value - self.at_most, self.at_least - value)


def trained_gflops(record: Mapping[str, Any]) -> float | None:
    """Return the Gflops of a trial's training, forward and backward, as far as it came; None where they are not known.

    Three passes for each image, each of `gflops`, or of what a pass in training really takes.
    """
    one, images = record.get(TRAIN_PASS), record.get("images")
    one = record.get("gflops") if one is None else one
    return None if one is None or images is None else TRAIN_PASSES * float(one) * float(images)


def share_key(share: float) -> str:
    """Return the key of a share of the budget, in what a record has by share."""
    return f"{share:g}"
