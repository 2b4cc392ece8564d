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
    pauses: dict[str, Record] = field(default_factory=dict)  # of trials that are paused and not running, by trial
    rung: int = 0  # of the fidelity, to which it is trained
    train_gflops: float = 0.0  # of training on an image, where they are counted
    told: bool = False  # whether the ledger has its scores
    added: bool = False  # whether it is one seed beyond those of the design: no score, and no rung, rests on it

    @property
    def complete(self) -> bool:
        """Whether all of its trials have ended."""
        return len(self.records) == len(self.trials)

    @property
    def at_rest(self) -> bool:
        """Whether none of its trials waits or runs: each has ended, or is paused."""
        return len(self.records) + len(self.pauses) == len(self.trials)

    @property
    def measured(self) -> list[Record]:
        """Return the records of its trials, as far as they have come, without those that failed."""
        return [record for record in (*self.records.values(), *self.pauses.values()) if record is not None]

    @property
    def diverged(self) -> bool:
        """Whether one of its trials diverged."""
        return any(record["state"] == records.DIVERGED for record in self.measured)

    def scores(self, objectives: Sequence[Objective], share: float | None = None) -> list[float] | None:
        """Return one number an objective, from the records; None where a record or a number is missing.

        share: of the budget, after which it was measured; None: at the end.
        """
        means = [mean(objective, self.measured, share) for objective in objectives]
        present = [value for value in means if value is not None]
        return present if self.measured and len(present) == len(means) else None

    def excess(self, constraints: Sequence[Constraint], share: float | None = None) -> dict[str, float]:
        """Return how far it lies beyond each constraint; 0 where it has no value (no attention, no logits)."""
        means = [(constraint, mean(constraint.of, self.measured, share)) for constraint in constraints]
        return {bound.of.name: 0.0 if value is None else bound.excess(value) for bound, value in means}


def mean(objective: Objective, measured: Sequence[Mapping[str, Any]], share: float | None = None) -> float | None:
    """Return the mean of an objective over records, at a share of the budget or at the end; None without a value.

    At a share of the budget every record has to have one: one that diverged before has none.
    """
    found = [objective.value(record) if share is None else objective.value_at(record, share) for record in measured]
    values = [value for value in found if value is not None]
    if not values or (share is not None and len(values) < len(found)):
        return None
    return statistics.fmean(values)
