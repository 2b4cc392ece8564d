"""design `one_factor`: one factor at a time, from the baseline on, from the whole back, or as a ladder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from ablate.api import Added, Assignment, Dimension
from ablate_zoo.design._listed import Listed, identity

Changes = Literal["add_one", "leave_one_out", "ladder"]


class OneFactor(Listed):
    """Each choice by itself: the cheapest design, blind to interactions.

    `add_one`: the baseline, and the baseline with one choice changed. `leave_one_out`: the baseline, the whole (of each
    line of `vary` the last choice), and the whole with one line back at the baseline's. `ladder`: from the baseline on,
    each choice on top of those before, in the order of `vary`, as tables of papers go from A to B to C.
    """

    name = "one_factor"
    default = True

    changes: Annotated[Changes, Added(before="add_one")] = "add_one"

    def listed(self, dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
        """The baseline first.

        A choice stands for itself with all that is below it, so what the baseline says of paths below a changed one is
        left out. A dimension that the base does not have is varied, by `add_one`, under each change, above it or beside
        it, that may bring it about.
        """
        yield _baseline(dimensions)
        if self.changes == "ladder":
            yield from _ladder(dimensions)
        elif self.changes == "leave_one_out":
            yield from _leave_one_out(dimensions)
        else:
            yield from _add_one(dimensions)


def _add_one(dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
    for d in dimensions:
        for ground in _grounds(d, dimensions):
            for choice in d.choices:
                yield _changed(ground, d, choice)


def _ladder(dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
    rung = _baseline(dimensions)
    for d in sorted(dimensions, key=lambda d: d.place):
        for choice in _changes(d):
            rung = _changed(rung, d, choice)
            yield rung


def _leave_one_out(dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
    last = {d.path: _changes(d)[-1] for d in dimensions if _changes(d)}
    places = {d.path: d.place for d in dimensions}
    for left_out in (None, *sorted(last, key=lambda path: places[path])):
        assignment = _baseline(dimensions)
        for d in dimensions:
            if d.path in last and d.path != left_out:
                assignment = _changed(assignment, d, last[d.path])
        yield assignment


def _changes(d: Dimension) -> list[bool | int | float | str]:
    """Return the choices of a dimension that are not the baseline's."""
    return [choice for choice in d.choices if d.baseline is None or identity(choice) != identity(d.baseline)]


def _baseline(dimensions: Sequence[Dimension]) -> Assignment:
    return {d.path: d.baseline for d in dimensions if d.baseline is not None}


def _changed(assignment: Assignment, d: Dimension, choice: bool | int | float | str) -> Assignment:
    if d.path in assignment and identity(assignment[d.path]) == identity(choice):
        return assignment
    elsewhere = {path: label for path, label in assignment.items() if not path.startswith(f"{d.path}.")}
    return {**elsewhere, d.path: choice}


def _grounds(d: Dimension, dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
    """Yield the assignments in which a dimension is varied: the baseline, where the base has that path."""
    if d.baseline is not None:
        yield _baseline(dimensions)
        return
    for other in dimensions:
        above = d.path.startswith(f"{other.path}.")
        beside = other.baseline is not None and _holder(other) == _holder(d) != ""
        if above or beside:
            for ground in _grounds(other, dimensions):
                for choice in other.choices:
                    if other.baseline is None or identity(choice) != identity(other.baseline):
                        yield _changed(ground, other, choice)


def _holder(d: Dimension) -> str:
    return d.path.rpartition(".")[0]
