"""fidelity: how much of its budget a candidate gets before it is decided whether it goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ablate.spec.component import Component


@dataclass(frozen=True)
class Rung:
    """The candidates that were measured at one share of the budget, in order of their numbers: a row each.

    Diverged and failed candidates are not among them, nor is one whose measurement is missing, nor the baseline.
    """

    share: float  # of the budget, in (0, 1)
    numbers: NDArray[np.int64]  # (n,) of the candidates
    quality: NDArray[np.float64]  # (n, q) what the study minimises and measured here; of what it maximises the negative
    cost: NDArray[np.float64]  # (n, c) what it minimises and knows before training, such as Gflops; c may be 0
    promoted: NDArray[np.bool_]  # (n,) whether it was chosen to go on from here
    end: NDArray[np.float64] | None = None
    """(n, q) quality at the end of the budget, on as many samples as at the rungs: NaN of who has not come there, inf
    of who diverged or failed on the way; None where it is not known"""


class Fidelity(Component):
    """Decides which candidates are trained on: successive halving, early stopping that pauses and resumes.

    A candidate is trained until the first rung, a share of its budget, measured there, and paused: its checkpoint
    stays. Whenever a worker is free, `promote` is asked who goes on to its next rung; the budget's end is the last one.
    A training that was paused continues exactly. The study's baseline is never paused, and is not compared here.
    """

    kind: ClassVar[str] = "fidelity"

    @abstractmethod
    def rungs(self) -> tuple[float, ...]:
        """Return the shares of the budget at which candidates pause, ascending in (0, 1); () where none does."""

    @abstractmethod
    def promote(self, rungs: Sequence[Rung], closing: bool) -> int | None:
        """Return the number of a paused candidate that goes on to its next rung; None: first a new one is tried.

        rungs: one for each share. closing: the design has no more candidates, and nothing is being trained. Then None
        ends the study. Called whenever a worker is free, so it decides by what there is (asynchronous), from these
        numbers alone: a resumed study decides alike.
        """

    def share(self, candidates: int) -> float:
        """Return the training compute of so many candidates of one size, as a share of training them all to the end."""
        return 1.0
