"""Fidelities that are wrong, each in a way of its own; `fails` says which checks have to tell."""

import itertools
from typing import ClassVar

import numpy as np

from ablate.api import Fidelity


class Sound(Fidelity):
    """Lets the better half at the only rung go on."""

    name = "sound"
    fails: ClassVar = ()

    def rungs(self):
        return (0.5,)

    def order(self, rung):
        return np.argsort(rung.quality[:, 0], kind="stable")

    def promote(self, rungs, closing):
        (rung,) = rungs
        order = self.order(rung)[: len(rung.numbers) // 2]
        free = [i for i in order if not rung.promoted[i]]
        return int(rung.numbers[free[0]]) if free else None

    def share(self, candidates):
        return 0.75


class Beyond(Sound):
    """Pauses after the end of the budget, and before an earlier rung."""

    name = "beyond"
    fails: ClassVar = ("pauses_within_the_budget",)

    def rungs(self):
        return (1.5, 0.5)


class Again(Sound):
    """Promotes who has gone on already, without end."""

    name = "again"
    fails: ClassVar = ("promotes_who_is_paused",)

    def promote(self, rungs, closing):
        (rung,) = rungs
        return int(rung.numbers[0])


class Moody(Sound):
    """Decides by how often it was asked."""

    name = "moody"
    fails: ClassVar = ("decides_alike",)
    _asked: ClassVar = itertools.count()

    def promote(self, rungs, closing):
        return super().promote(rungs, closing) if next(self._asked) % 2 else None


class Narrow(Sound):
    """Knows one cost, no more and no less."""

    name = "narrow"
    fails: ClassVar = ("takes_all_sorts_of_objectives",)

    def order(self, rung):
        (cost,) = rung.cost.T
        return np.lexsort([cost, rung.quality[:, 0]])


class Strict(Sound):
    """Lets nobody go on."""

    name = "strict"
    fails: ClassVar = ("comes_to_an_end",)

    def promote(self, rungs, closing):
        return None


class Upside(Sound):
    """Prefers the worse."""

    name = "upside"
    fails: ClassVar = ("prefers_the_better",)

    def order(self, rung):
        return np.argsort(-rung.quality[:, 0], kind="stable")
