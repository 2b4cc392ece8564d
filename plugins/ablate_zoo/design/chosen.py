"""design `chosen`: the candidates that are named, one by one, and the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from ablate.api import Assignment, Design, Dimension, InputError
from ablate_zoo.design._listed import identity

if TYPE_CHECKING:
    import optuna

MOST = 1000  # candidates that are named by hand


def _pairs(value: Any) -> Any:
    """Return the pairs of each mapping, which has no hash; anything else as it is."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(tuple(one.items()) if isinstance(one, Mapping) else one for one in value)


# Bounds of what a file may hold; whether a choice is one of the study's is asked of its space.
Whole = Annotated[int, Field(ge=-(2**63), le=2**63)]
Real = Annotated[float, Field(ge=-1e300, le=1e300)]
Named = Annotated[
    tuple[tuple[tuple[str, bool | Whole | Real | str], ...], ...],
    BeforeValidator(_pairs),
    WithJsonSchema({"type": "array", "items": {"type": ["object", "array"]}}),
]


class Chosen(Design):
    """The candidates that `named` has, each as {path: choice}; what one does not name stays as in the base.

    For a few that are worth a second look: on more seeds, or on fresh ones. A choice is one of its line in `vary`, as
    the tables have it (`c.<path>`), or a number within its range. The baseline comes first, named or not.
    """

    name = "chosen"
    takes_candidates: ClassVar[str] = "named"

    named: Annotated[Named, Field(max_length=MOST)] = ()  # [{path: choice, ...}, ...]

    def proposals(self, dimensions: Sequence[Dimension]) -> list[Assignment]:
        """The baseline, then those that are named, each once. Raises InputError for a path or a choice that is none."""
        by_path = {d.path: d for d in dimensions}
        baseline = {d.path: d.baseline for d in dimensions if d.baseline is not None}
        named = [
            {path: _choice(by_path, path, label, f"design.named[{i}]") for path, label in pairs}
            for i, pairs in enumerate(self.named)
        ]
        unique: dict[Any, Assignment] = {}
        for assignment in (baseline, *named):
            unique.setdefault(frozenset((path, identity(label)) for path, label in assignment.items()), assignment)
        return list(unique.values())

    def candidates(self, dimensions: Sequence[Dimension]) -> int:
        """How many there are."""
        return len(self.proposals(dimensions))

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A random one: it is asked for nothing."""
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)


def _choice(by_path: Mapping[str, Dimension], path: str, label: Any, where: str) -> bool | int | float | str:
    """Return the choice as its line of `vary` has it. Raises InputError where it is none."""
    d = by_path.get(path)
    if d is None:
        there = ", ".join(by_path) or "none"
        raise InputError(f"no line of 'vary' is called {path!r}; there is: {there}", where)
    if d.choices:
        for choice in (*d.choices, d.baseline):
            if choice is not None and identity(choice) == identity(label):
                return choice
        raise InputError(f"{path} has no choice {label!r}; there is: {', '.join(map(str, d.choices))}", where)
    if identity(label) == identity(d.baseline):  # the base's own, within the range or not
        return label
    assert d.low is not None and d.high is not None
    if isinstance(label, bool) or not isinstance(label, int | float) or not d.low <= label <= d.high:
        raise InputError(f"{path} goes from {d.low} to {d.high}, which {label!r} is not within", where)
    return int(label) if d.integer else float(label)
