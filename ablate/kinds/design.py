"""design: which candidates a study tries, in which order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ablate.spec.component import Component, Extent

if TYPE_CHECKING:
    import optuna

CUT_SHORT = "cut short"  # attribute of an Optuna trial that was not asked for to its end: it is no candidate
Assignment = Mapping[str, Any]  # {dotted path: chosen label}; what is not named stays as in the base


@dataclass(frozen=True)
class Dimension:
    """One line of `vary`: a dotted path, and its choices or its range."""

    path: str
    choices: tuple[bool | int | float | str, ...] = ()  # labels: a name, a number, or a spec as JSON
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    integer: bool = False
    baseline: Any = None  # the label that the base has here; None: the base has no such path
    place: int = 0  # of its line in `vary`; dimensions come in the order in which they depend on each other
    depends: tuple[str, ...] = ()  # paths of those that have a choice under which this one does not exist


class Design(Component):
    """Chooses the candidates of a study: all beforehand, or one after the other by a sampler of Optuna's."""

    kind: ClassVar[str] = "design"
    takes_candidates: ClassVar[str | None] = None  # the field that takes candidates as assignments, one by one

    seeds: Annotated[int, Field(ge=1, le=1000), Extent()] = 1  # repetitions of each candidate
    first_seed: Annotated[int, Field(ge=0, le=2**31 - 1), Extent()] = 0  # theirs are this one and those that follow

    @property
    def learns(self) -> bool:
        """Whether what the sampler asks for next depends on what was measured; if not, it is asked ahead of time."""
        return True

    @property
    def inherits(self) -> bool:
        """Whether a candidate that is made from another one begins with the trained weights of that (`parent`)."""
        return False

    def parent(self, sampler: optuna.samplers.BaseSampler) -> int | None:
        """Return the number of the trial from which a sampler of this design made what it was asked for last.

        None where it was made of none.
        """
        return None

    def proposals(self, dimensions: Sequence[Dimension]) -> Sequence[Assignment] | None:
        """Return all candidates in order, where they are known beforehand; None: the sampler finds them.

        Raises InputError where the design cannot work on such dimensions. An assignment may name a
        path that does not exist under its other choices; whoever applies it leaves that path out.
        """
        return None

    @abstractmethod
    def candidates(self, dimensions: Sequence[Dimension]) -> int:
        """Return how many candidates the study asks for at the most, each to be run with `seeds` seeds."""

    @abstractmethod
    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Build the sampler for what proposals leave open; anew for each trial, so that a resume decides alike."""
