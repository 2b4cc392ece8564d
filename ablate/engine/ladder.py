"""The ladder: which candidates stand at which rung of a study's fidelity, with which scores, and who goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ablate.candidates.objectives import KNOWN_BEFOREHAND, Constraint, Objective, share_key
from ablate.engine.score import Group
from ablate.errors import InputError
from ablate.kinds.fidelity import Fidelity, Rung
from ablate.worker.messages import Record


class Ladder:
    """The candidates of a study at the rungs of its fidelity. Without one, nobody pauses.

    during: {column of a metric: the one that it has at points of the training}.
    """

    def __init__(
        self,
        fidelity: Fidelity | None,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        during: Mapping[str, str],
    ) -> None:
        self._fidelity = fidelity
        self.rungs = fidelity.rungs() if fidelity is not None else ()
        names = during if self.rungs else {}
        self._objectives = [o.during(names.get(o.column)) for o in objectives]
        self._constraints = [replace(c, of=c.of.during(names.get(c.of.column))) for c in constraints]
        self._quality = [i for i, o in enumerate(objectives) if o.column not in KNOWN_BEFOREHAND]
        self._cost = [i for i, o in enumerate(objectives) if o.column in KNOWN_BEFOREHAND]
        self._standings = [_empty(share, len(self._quality), len(self._cost)) for share in self.rungs]
        self._groups: dict[int, Group] = {}

    def until(self, rung: int) -> float | None:
        """Return the share of the budget of a rung; None for the end of the budget."""
        return self.rungs[rung] if rung < len(self.rungs) else None

    def rung_of(self, until: float | None) -> int:
        """Return the rung at this share of the budget, or the next one; None: the end of the budget."""
        return len(self.rungs) if until is None else int(np.searchsorted(self.rungs, until))

    def went_on(self, group: Group) -> None:
        """Note that a candidate has gone on to its rung."""
        for i in range(group.rung):
            self._standings[i] = _with_promotion(self._standings[i], group.entry.number)

    def passed(self, record: Record) -> int | None:
        """Return the last rung at which a trial was measured; None where there is none."""
        shares = record.get("shares", {})
        return max((i for i, share in enumerate(self.rungs) if share_key(share) in shares), default=None)

    def scores(self, group: Group, rung: int) -> list[float] | None:
        """Return a candidate's scores at a rung, one number an objective; None where one is missing."""
        return group.scores(self._objectives, self.until(rung))

    def excess(self, group: Group) -> dict[str, float]:
        """Return how far a candidate lies beyond each constraint at the first rung; see `Group.excess`."""
        return group.excess(self._constraints, self.until(0))

    def describe(self, record: Record, until: float | None) -> str:
        """Return what a trial was measured at, at a share of its budget or at its end: `kid 1.2, gflops 0.3`."""
        pairs = [(o.name, o.value(record) if until is None else o.value_at(record, until)) for o in self._objectives]
        return ", ".join(f"{name} {value:.4g}" for name, value in pairs if value is not None)

    def stand(self, group: Group) -> None:
        """Take in what a candidate was measured at, up to the rung to which it was trained."""
        number = group.entry.number
        self._groups[number] = group
        for i in range(min(group.rung + 1, len(self.rungs))):
            if _place(self._standings[i], number) is None and (scores := self.scores(group, i)) is not None:
                self._standings[i] = self._with(self._standings[i], number, scores)
        self.went_on(group)
        if group.complete:
            self._note_end(group)

    def promote(self, closing: bool) -> Group | None:
        """Return a paused candidate that goes on to its next rung, as the fidelity decides; None where none does.

        Raises InputError where the fidelity names one that is not paused.
        """
        if self._fidelity is None or not self.rungs:
            return None
        number = self._fidelity.promote(tuple(self._standings), closing)
        if number is None:
            return None
        group = self._groups.get(number)
        if group is None or group.rung == len(self.rungs) or not group.at_rest:
            raise InputError(f"lets candidate {number} go on, which is not paused", f"fidelity {self._fidelity.name!r}")
        group.rung += 1
        self.went_on(group)
        return group

    def _note_end(self, group: Group) -> None:
        """Note at all rungs what a candidate has come to at the end of its budget."""
        scores = None if group.diverged else group.scores(self._objectives, 1.0)
        end = np.full(len(self._quality), np.inf) if scores is None else self._signed(scores)[self._quality]
        for i, rung in enumerate(self._standings):
            if (at := _place(rung, group.entry.number)) is not None and rung.end is not None:
                ends = rung.end.copy()
                ends[at] = end
                self._standings[i] = replace(rung, end=ends)

    def _signed(self, scores: Sequence[float]) -> NDArray[np.float64]:
        """Return scores such that less is better."""
        return np.array([o.sign * score for o, score in zip(self._objectives, scores, strict=True)])

    def _with(self, rung: Rung, number: int, scores: Sequence[float]) -> Rung:
        """Return the rung with one more candidate."""
        assert rung.end is not None
        signed = self._signed(scores)
        at = int(np.searchsorted(rung.numbers, number))
        return replace(
            rung,
            numbers=np.insert(rung.numbers, at, number),
            quality=np.insert(rung.quality, at, signed[self._quality], axis=0),
            cost=np.insert(rung.cost, at, signed[self._cost], axis=0),
            promoted=np.insert(rung.promoted, at, False),
            end=np.insert(rung.end, at, np.nan, axis=0),
        )


def _empty(share: float, quality: int, cost: int) -> Rung:
    none, measured = np.empty(0, dtype=np.int64), np.empty((0, quality))
    return Rung(share, none, measured, np.empty((0, cost)), np.empty(0, dtype=bool), measured)


def _place(rung: Rung, number: int) -> int | None:
    """Return the row of a candidate; None where it is not there."""
    at = int(np.searchsorted(rung.numbers, number))
    return at if at < len(rung.numbers) and rung.numbers[at] == number else None


def _with_promotion(rung: Rung, number: int) -> Rung:
    """Return the rung with the note that a candidate went on from here; the same where it is not there."""
    at = _place(rung, number)
    if at is None or rung.promoted[at]:
        return rung
    promoted = rung.promoted.copy()
    promoted[at] = True
    return replace(rung, promoted=promoted)
