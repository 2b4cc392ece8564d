"""seeding: how many seeds each candidate gets, beyond those of the design."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ablate.kinds.looks import Looks
from ablate.spec.component import Component


@dataclass(frozen=True)
class Race:
    """What is measured of a study's candidates, a row each, in order of their numbers, and what follows from it.

    Seeds are common: column j is the same seed for all, so differences are paired. Two families of statements are
    tested, each at the level of `looks`, corrected by Holm's method: the verdicts against the baseline in the first
    objective, and the signs of the differences on which membership of the front rests.
    """

    looks: Looks
    numbers: NDArray[np.int64]  # (k,) of the candidates
    quality: NDArray[np.float64]  # (k, most, q) measured objectives, minimised; NaN where there is no value (yet)
    cost: NDArray[np.float64]  # (k, c) objectives known before training, minimised; c may be 0
    baseline: int | None  # its row
    contends: NDArray[np.bool_]  # (k,) whether it may be on the front: no seed diverged, no constraint is broken
    able: NDArray[np.bool_]  # (k,) whether it can get a further seed at all, now or later
    busy: NDArray[np.bool_]  # (k,) whether a seed of it waits or runs

    @cached_property
    def seeds(self) -> NDArray[np.int64]:
        """(k,) how many seeds, from the first on, have a value of every objective."""
        there = np.isfinite(self.quality).all(axis=2)
        return np.asarray(np.logical_and.accumulate(there, axis=1).sum(axis=1))

    @cached_property
    def verdicts(self) -> NDArray[np.int64]:
        """(k,) −1 where a candidate is better than the baseline in the first objective, 1 worse, 0 open."""
        signs = np.zeros(len(self.numbers), dtype=np.int64)
        if self.baseline is None or not len(signs):
            return signs
        others = np.flatnonzero((np.arange(len(signs)) != self.baseline) & (self._paired(self.baseline) > 0))
        found = self.looks.found(self.quality[others, :, 0] - self.quality[self.baseline, :, 0])
        signs[others] = np.where(rejected(found.p, self.looks.alpha), found.sign, 0)
        return signs

    @cached_property
    def signs(self) -> NDArray[np.int64]:
        """(k, k, q) −1 where the first is better than the second in an objective, 1 worse, 0 open or not asked."""
        signs = np.zeros((*self.rivals.shape, self.quality.shape[2]), dtype=np.int64)
        one, other = np.nonzero(np.triu(self.rivals | self.rivals.T))
        found = self.looks.found(np.moveaxis(self.quality[one] - self.quality[other], 1, 2))
        signs[one, other] = np.where(rejected(found.p.ravel(), self.looks.alpha).reshape(found.p.shape), found.sign, 0)
        signs[other, one] = -signs[one, other]
        return signs

    @cached_property
    def rivals(self) -> NDArray[np.bool_]:
        """(k, k) whether the second could dominate the first, by what both cost; both may be on the front."""
        no_dearer = (self.cost[None, :, :] <= self.cost[:, None, :]).all(axis=2)
        may = self.contends & (self.seeds > 0) & np.isfinite(self.cost).all(axis=1)
        return np.asarray(no_dearer & may[:, None] & may[None, :] & ~np.eye(len(may), dtype=bool))

    @cached_property
    def on_front(self) -> NDArray[np.int64]:
        """(k,) 1 where a candidate is shown to be on the front, −1 that it is not, 0 open; −1 if it cannot contend.

        What a dominated rival dominates, its own dominator dominates too: such rivals need not be withstood.
        """
        dominated = (self.rivals & (self.signs == 1).all(axis=2)).any(axis=1)
        withstands = (self.signs == -1).any(axis=2) | ~self.rivals | dominated[None, :]
        shown = withstands.all(axis=1) & (self.seeds > 0)
        return np.asarray(np.where(dominated | ~self.contends, -1, shown.astype(np.int64)))

    @cached_property
    def open_pairs(self) -> NDArray[np.bool_]:
        """(k, k) whether the membership of the first waits for its comparison with the second."""
        undecided = (self.on_front == 0)[:, None] & (self.on_front != -1)[None, :]
        return np.asarray(self.rivals & undecided & ~(self.signs == -1).any(axis=2))

    def _paired(self, row: int) -> NDArray[np.int64]:
        return np.asarray(np.minimum(self.seeds, self.seeds[row]))


class Seeding(Component):
    """Decides which candidate gets a further seed: racing, sequential testing, adaptive allocation.

    Every candidate has the seeds of the design. When the design has no more candidates, `next` is asked, whenever a
    worker is free, which one gets its next seed; the numbers of the seeds are the same for all. What is shown by these
    seeds is not this rule's to say: it is tested by the study's looks, whose error is controlled whatever the rule is.
    """

    kind: ClassVar[str] = "seeding"

    @abstractmethod
    def looks(self, seeds: int) -> Looks | None:
        """Return the looks that are taken, the first at the design's `seeds`; None where no seed is ever added.

        Raises ValueError where they cannot begin at so many seeds.
        """

    @property
    def needs_baseline(self) -> bool:
        """Whether there is nothing to decide where the design does not try the baseline."""
        return False

    @abstractmethod
    def next(self, race: Race) -> int | None:
        """Return the number of a candidate that gets its next seed, able and not busy; None: nobody, for now.

        None while nobody is busy ends the study. Decides by these numbers alone: a resumed study decides alike.
        """


def rejected(p: NDArray[np.float64], alpha: float) -> NDArray[np.bool_]:
    """Return which of (n,) hypotheses Holm's step-down method (1979) rejects at a family-wise error of alpha."""
    order = np.argsort(p, kind="stable")
    passed = np.logical_and.accumulate(p[order] <= alpha / np.arange(len(p), 0, -1))
    out = np.zeros(len(p), dtype=bool)
    out[order] = passed
    return out
