"""The candidates that a design proposes before a sampler decides, and how many there are in all."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass

from ablate.candidates.space import Space
from ablate.engine.sound import holds
from ablate.kinds.design import Assignment, Design
from ablate.kinds.start import START


@dataclass(frozen=True)
class Entry:
    """An entry of the ledger: a candidate that was asked for. It is closed once its scores, or its failure, are in."""

    number: int  # of Optuna's trial
    assignment: Assignment
    closed: bool
    until: float | None = None  # share of the budget to which a fidelity has let it go on; None: to the first rung
    start: str | None = None  # word for the parent with whose weights it begins (`ablate.kinds.start`)

    @property
    def whole(self) -> Assignment:
        """The assignment, with the parent's word where it has one: what the candidate is composed of."""
        return self.assignment if self.start is None else {**self.assignment, START: self.start}


def plan_candidates(space: Space, design: Design) -> tuple[list[Assignment], int]:
    """Return what is asked for before the sampler decides, and how many candidates there are in all.

    A search begins with the baseline, so that its findings have something to be compared with; but
    only where the baseline lies in the space.
    """
    proposals = space.proposals(design)
    if proposals is not None:
        return proposals, len(proposals)
    baseline = space.complete({})
    total = design.candidates(space.dimensions)
    with contextlib.suppress(OverflowError):  # there is no end of them
        total = sum(1 for _ in itertools.islice(space.everything(), total))
    inside = all(holds(d, baseline[d.path]) for d in space.dimensions if d.path in baseline)
    return [baseline] if inside else [], total
