"""The score of a candidate: the mean of its objectives over its seeds, and how far it lies beyond the constraints."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.candidates.objectives import Constraint, Objective
from ablate.engine.proposals import Entry
from ablate.worker import records
from ablate.worker.messages import Record


@dataclass
class Group:
    """One candidate and its trials, one a seed."""

    entry: Entry
    trials: tuple[str, ...]
    records: dict[str, Record | None] = field(default_factory=dict)  # by trial; None: failed

    @property
    def complete(self) -> bool:
        """Whether all of its trials have ended."""
        return len(self.records) == len(self.trials)

    @property
    def measured(self) -> list[Record]:
        """Return the records of its trials, without those that failed."""
        return [record for record in self.records.values() if record is not None]

    @property
    def diverged(self) -> bool:
        """Whether one of its trials diverged."""
        return any(record["state"] == records.DIVERGED for record in self.measured)

    def scores(self, objectives: Sequence[Objective]) -> list[float] | None:
        """Return one number an objective, from the records; None where a record or a number is missing."""
        means = [mean(objective, self.measured) for objective in objectives]
        present = [value for value in means if value is not None]
        return present if self.measured and len(present) == len(means) else None

    def excess(self, constraints: Sequence[Constraint]) -> dict[str, float]:
        """Return how far it lies beyond each constraint; 0 where it has no value (no attention, no logits)."""
        means = [(constraint, mean(constraint.of, self.measured)) for constraint in constraints]
        return {bound.of.name: 0.0 if value is None else bound.excess(value) for bound, value in means}


def mean(objective: Objective, measured: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the mean of an objective over records; None where none of them has a value."""
    values = [value for record in measured if (value := objective.value(record)) is not None]
    return statistics.fmean(values) if values else None
