"""Asynchronous successive halving: what its variants share. They differ in the order at a rung."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ablate.api import Fidelity, Rung

DIGITS = 4  # of a rung's share of the budget
MOST_RUNGS = 20


class Halving(Fidelity):
    """Base of the fidelities that let one in `factor` go on at each rung, and train it `factor` times as long.

    Asynchronous (Li et al. 2020, ASHA): one goes on as soon as it is among the best 1/factor of those that have come to
    its rung; nobody is waited for. Among fewer than `factor`, one goes on only at the end of the study.
    """

    # Share of the budget until the first rung. On the first recorded table the order after a third of a short training
    # agrees with that at its end (rank correlation 0.64), after a ninth hardly (0.17); docs/replay.md.
    first: Annotated[float, Field(gt=0, lt=1)] = 0.3333
    factor: Annotated[float, Field(ge=1.5, le=100)] = 3.0  # one in so many goes on, for so many times as long

    @model_validator(mode="after")
    def _few_rungs(self) -> Halving:
        if len(self.rungs()) > MOST_RUNGS:
            raise ValueError(f"first {self.first:g} and factor {self.factor:g} give more than {MOST_RUNGS} rungs")
        return self

    def rungs(self) -> tuple[float, ...]:
        """Return first, first · factor, first · factor² and so on, below 1."""
        shares: list[float] = []
        share = self.first
        while round(share, DIGITS) < 1 and len(shares) <= MOST_RUNGS:
            shares.append(float(f"{share:.{DIGITS}g}"))
            share *= self.factor
        # A last rung shortly before the end would decide about next to nothing.
        return tuple(s for s in shares if s * np.sqrt(self.factor) < 1 or s == shares[0])

    def promote(self, rungs: Sequence[Rung], closing: bool) -> int | None:
        """Return the best that may go on, at the highest rung at which there is one."""
        for rung in reversed(rungs):
            chosen = [members[i] for members in self.groups(rung) for i in self._may_go_on(rung, members, closing)]
            if chosen:
                return int(rung.numbers[chosen[0]])
        return None

    @abstractmethod
    def groups(self, rung: Rung) -> list[NDArray[np.int64]]:
        """Return the rows of a rung in groups that are compared with each other, the best of each first."""

    def _may_go_on(self, rung: Rung, members: NDArray[np.int64], closing: bool) -> NDArray[np.int64]:
        """Return the places in a group of those that may go on and have not yet, the best first."""
        quota = int(len(members) / self.factor)
        if closing:
            quota = max(quota, 1)
        return np.flatnonzero(~rung.promoted[members[:quota]])

    def share(self, candidates: int) -> float:
        """Return the training compute of so many candidates, as a share of training them all to the end."""
        shares = (*self.rungs(), 1.0)
        left, spent, before = candidates, 0.0, 0.0
        for share in shares:
            spent += left * (share - before)
            left, before = max(1, int(left / self.factor)), share
        return spent / candidates
