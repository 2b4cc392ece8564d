"""seeding `racing`: further seeds where membership of the front, or a verdict against the baseline, is open."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.api import Looks, Race, Seeding


class Racing(Seeding):
    """Seeds are added where a question is open, one at a time, up to `most` a candidate.

    Racing, as of Maron & Moore 1994 and F-Race (Birattari et al. 2002), with another test.

    Two questions are asked of each candidate: whether it is better or worse than the baseline in the study's first
    measured objective, and whether it is on the front of all objectives. Both are tested after each further seed by a
    paired t-test with alpha spending (`Looks`), corrected by Holm's method: the chance of any wrong answer in the whole
    study is at most `alpha` for each of the two questions, where differences between seeds are about normal. Who is
    decided gets no further seed, unless another waits for it; who has a seed that diverged gets none. Those with the
    fewest seeds come first, and of those the baseline.

    A comparison is given up that the look at `most` pairs would not decide even if its effect (mean over deviation)
    were `futility` standard errors larger than it is so far. To give up can make no verdict wrong.
    """

    name = "racing"

    most: Annotated[int, Field(ge=3, le=100)] = 10  # seeds of a candidate, those of the design among them
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05  # chance of any wrong verdict, and of any wrong front
    futility: Annotated[float | None, Field(ge=0, le=10)] = 1.5  # standard errors of hope; null: none is given up
    about: Literal["baseline", "front", "both"] = "both"  # what is asked

    def looks(self, seeds: int) -> Looks:
        """Return the looks from the design's seeds to `most`."""
        if self.most < seeds:
            raise ValueError(f"most ({self.most}) is less than design.seeds ({seeds})")
        return Looks(seeds, self.most, self.alpha)

    @property
    def needs_baseline(self) -> bool:
        """Whether all questions are about it."""
        return self.about == "baseline"

    def next(self, race: Race) -> int | None:
        """Return whoever an open comparison waits for."""
        waits = np.zeros(len(race.numbers), dtype=bool)
        for one, other in self._open(race):
            pairs = min(race.seeds[one], race.seeds[other])
            lacking = [row for row in (one, other) if race.seeds[row] == pairs]
            if all(race.able[row] for row in lacking):  # else the comparison gets no further pair
                waits[lacking] = True
        rows = np.flatnonzero(waits & race.able & ~race.busy)
        if not len(rows):
            return None
        is_baseline = rows == (-1 if race.baseline is None else race.baseline)
        return int(race.numbers[rows[np.lexsort([rows, ~is_baseline, race.seeds[rows]])[0]]])

    def _open(self, race: Race) -> list[tuple[int, int]]:
        """Return the comparisons that are open and not given up, as pairs of rows."""
        pairs: list[tuple[int, int]] = []
        if self.about != "front" and race.baseline is not None:
            others = np.flatnonzero((race.verdicts == 0) & (np.arange(len(race.numbers)) != race.baseline))
            pairs += self._hopeful(race, [(row, race.baseline) for row in others.tolist()], 1)
        if self.about != "baseline":
            pairs += self._hopeful(race, list(zip(*_places(race.open_pairs), strict=True)), race.quality.shape[2])
        return pairs

    def _hopeful(self, race: Race, pairs: list[tuple[int, int]], objectives: int) -> list[tuple[int, int]]:
        """Return those that the last look would decide in some objective, were they what they may well be."""
        if self.futility is None or not pairs:
            return pairs
        one, other = np.array(pairs).T
        count = np.minimum(race.seeds[one], race.seeds[other])
        delta = (race.quality[one] - race.quality[other])[:, :, :objectives]
        delta[np.arange(race.looks.most) >= count[:, None]] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of those without a pair
            effect = np.abs(np.nanmean(delta, axis=1)) / np.nanstd(delta, axis=1, ddof=1)
        likely = effect + self.futility / np.sqrt(np.maximum(count, 1))[:, None]
        needed = race.looks.last_t(self.alpha / (len(pairs) * objectives)) / np.sqrt(race.looks.most)
        hopeless = (likely < needed).all(axis=1) & (count >= race.looks.first)
        return [pair for pair, given_up in zip(pairs, hopeless, strict=True) if not given_up]


def _places(flags: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    one, other = np.nonzero(flags)
    return one.tolist(), other.tolist()
