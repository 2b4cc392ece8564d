"""A design that knows all of its candidates beforehand: Optuna keeps them, and has nothing left to decide."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ablate.api import Assignment, Design, Dimension, InputError

if TYPE_CHECKING:
    import optuna


MOST = 20_000  # candidates; nobody trains so many, and listing them takes minutes


class Listed(Design):
    """Base of the designs that list their candidates."""

    @abstractmethod
    def listed(self, dimensions: Sequence[Dimension]) -> Iterable[Assignment]:
        """The candidates in order; one that comes twice counts once."""

    def proposals(self, dimensions: Sequence[Dimension]) -> list[Assignment]:
        """All candidates, each once. Raises InputError for a dimension that is a range, and for too many of them."""
        for d in dimensions:
            if not d.choices:
                raise InputError(
                    f"{d.path} varies from {d.low} to {d.high}, of which design {self.name!r} cannot make a list: "
                    f"give the values to try, such as [{d.low}, {d.high}], or take 'design: search'",
                    f"vary.{d.path}",
                )
        unique: dict[Any, Assignment] = {}
        for assignment in self.listed(dimensions):
            unique.setdefault(frozenset((path, identity(label)) for path, label in assignment.items()), assignment)
            if len(unique) > MOST:
                raise self.too_many(f"more than {MOST:,}")
        return list(unique.values())

    def too_many(self, count: str) -> InputError:
        """The refusal of a list that is too long."""
        message = f"design {self.name!r} comes to {count} candidates, of at most {MOST:,}"
        return InputError(f"{message}: give fewer choices, or take 'design: search'", "design")

    def candidates(self, dimensions: Sequence[Dimension]) -> int:
        """How many there are."""
        return len(self.proposals(dimensions))

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A random one: it is asked for nothing."""
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)


def identity(label: Any) -> Any:
    """Return what makes two labels one: 1 and 1.0 are, 1 and True are not."""
    return isinstance(label, bool), label
