"""design `one_factor`: one factor at a time, the baseline, and the baseline with one choice changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ablate.api import Assignment, Dimension
from ablate_zoo.design._listed import Listed, identity


class OneFactor(Listed):
    """Each choice against the baseline: the cheapest design, blind to interactions."""

    name = "one_factor"
    default = True

    def listed(self, dimensions: Sequence[Dimension]) -> Iterator[Assignment]:
        """The baseline; then, dimension by dimension, each choice in its place.

        A choice stands for itself with all that is below it, so what the baseline says of paths
        below a changed one is left out. A dimension that the base does not have is varied under each
        change, above it or beside it, that may bring it about.
        """
        yield _baseline(dimensions)
        for d in dimensions:
            for ground in _grounds(d, dimensions):
                for choice in d.choices:
                    yield _changed(ground, d, choice)


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
