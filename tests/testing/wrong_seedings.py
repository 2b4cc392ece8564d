"""Seedings that are wrong, each in a way of its own; `fails` says which checks have to tell."""

import itertools
from typing import ClassVar

import numpy as np

from ablate.api import Looks, Seeding


class Sound(Seeding):
    """Adds seeds, up to twelve, to whoever has no verdict yet and the fewest of them, and to the baseline."""

    name = "sound"
    fails: ClassVar = ()

    def looks(self, seeds):
        return Looks(seeds, 12, 0.05)

    def open(self, race):
        if race.baseline is None:
            return np.zeros(len(race.numbers), dtype=bool)
        waits = race.verdicts == 0
        waits[race.baseline] = False
        waits &= race.able
        waits[race.baseline] = waits.any()
        return waits

    def next(self, race):
        free = np.flatnonzero(self.open(race) & race.able & ~race.busy)
        return int(race.numbers[free[np.argmin(race.seeds[free])]]) if len(free) else None


class Early(Sound):
    """Looks later than the design has seeds, and otherwise each time."""

    name = "early"
    fails: ClassVar = ("looks_from_the_seeds_of_the_design",)

    def looks(self, seeds):
        return Looks(seeds + 1, 12, 0.05)


class Deaf(Sound):
    """Names who is at work already."""

    name = "deaf"
    fails: ClassVar = ("names_who_can_get_one",)

    def next(self, race):
        free = np.flatnonzero(self.open(race) & race.able)
        return int(race.numbers[free[0]]) if len(free) else None


class Moody(Sound):
    """Decides by how often it was asked."""

    name = "moody"
    fails: ClassVar = ("decides_alike",)
    _asked: ClassVar = itertools.count()

    def next(self, race):
        free = np.flatnonzero(self.open(race) & race.able & ~race.busy)
        return int(race.numbers[free[next(self._asked) % len(free)]]) if len(free) else None


class Narrow(Sound):
    """Knows one cost, no more and no less."""

    name = "narrow"
    fails: ClassVar = ("takes_all_sorts_of_studies",)

    def open(self, race):
        waits = super().open(race)
        if race.baseline is not None and race.quality.shape[2] > 1:
            (_,) = race.cost.T
        return waits


class Idle(Sound):
    """Adds no seed, ever."""

    name = "idle"
    fails: ClassVar = ("comes_to_an_end",)

    def next(self, race):
        return None


class Generous(Sound):
    """Gives everybody all seeds that there are."""

    name = "generous"
    fails: ClassVar = ("spends_nothing_on_what_is_decided",)

    def open(self, race):
        return np.ones(len(race.numbers), dtype=bool)
