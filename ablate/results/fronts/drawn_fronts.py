"""Draws of a study's front: what candidates' expected values probably are, in all objectives at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import KNOWN_BEFOREHAND, Objective
from ablate.results.front import nondominated
from ablate.results.fronts.probable import Seeds, draw_means, draws_for, read_seeds
from ablate.results.fronts.spread import Elsewhere
from ablate.results.fronts.two_way import Array, by_seed
from ablate.results.measurements import values

SEED = 0  # of all draws: the same folder gives the same numbers


@dataclass(frozen=True)
class DrawnFronts:
    """Probable values of candidates in each objective, all minimised.

    What is known before training is the same in each draw.
    """

    rows: NDArray[np.int64]  # (k,) their places among those that were asked for
    values: Array  # (draws, k, objectives), minimised
    certain: NDArray[np.bool_]  # (objectives,) which are known beforehand

    def of(self, chosen: NDArray[np.bool_]) -> DrawnFronts:
        """Return the draws of some of the candidates (k,)."""
        return DrawnFronts(self.rows[chosen], self.values[:, chosen], self.certain)

    def on_front(self) -> NDArray[np.bool_]:
        """Return (draws, k) which candidates no other dominates."""
        if self.values.shape[2] == 1 + int(self.certain.sum()) == 2:
            (measured,) = np.flatnonzero(~self.certain)
            (known,) = np.flatnonzero(self.certain)
            return undominated(self.values[:, :, measured], self.values[0, :, known])
        if self.certain.all():
            return np.broadcast_to(nondominated(self.values[0]), self.values.shape[:2])
        return np.array([nondominated(one) for one in self.values])

    def fronts(self, most: int | None = None) -> Iterator[Array]:
        """Yield (n, objectives) the points on the front of each draw, of the first `most` draws."""
        for points, on in zip(self.values[:most], self.on_front()[:most], strict=True):
            yield points[on]


def draw_fronts(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    config_hashes: Sequence[str],
    objectives: Sequence[Objective],
    where: Mapping[str, Any] | None = None,
    elsewhere: Mapping[str, Elsewhere] | None = None,
) -> DrawnFronts:
    """Draw the expected values of candidates, the same whenever it is asked.

    config_hashes: of those that are drawn together; who has no value in an objective is left out. elsewhere: by an
    objective's column, what other trials tell of its spread. Objectives are drawn with the correlation that their
    noise has over the trials. Raises NoSpreadError where the spread of an objective over seeds is not known.
    """
    frame, _ = values(trials, metrics, objectives, where)
    tables = [by_seed(_known_to_all(frame, o), o.column, config_hashes) for o in objectives]
    rows = np.flatnonzero(np.logical_and.reduce([np.isfinite(table).any(axis=1) for table in tables]))
    certain = np.array([o.column in KNOWN_BEFOREHAND for o in objectives])
    measured = np.flatnonzero(~certain).tolist() if len(rows) else []
    seeds = [read_seeds(tables[i][rows], (elsewhere or {}).get(objectives[i].column)) for i in measured]
    draws = draws_for(len(rows))
    drawn = np.empty((draws, len(rows), len(objectives)))
    for i in np.flatnonzero(certain).tolist():
        drawn[:, :, i] = objectives[i].sign * np.nanmin(tables[i][rows], axis=1)
    if not measured:
        return DrawnFronts(rows, drawn, certain)
    costs: Any = trials.groupby("config_hash", observed=True)["gflops"].min().reindex(list(config_hashes))
    cost = costs.to_numpy(dtype=float)[rows]
    rng = np.random.default_rng(SEED)
    normal = rng.normal(size=(draws, len(rows), len(measured))) @ _root_of_correlation(seeds).T
    for j, i in enumerate(measured):
        drawn[:, :, i] = objectives[i].sign * draw_means(seeds[j], cost, rng, draws, normal[:, :, j])
    return DrawnFronts(rows, drawn, certain)


def _root_of_correlation(seeds: Sequence[Seeds]) -> Array:
    """Return the (q, q) Cholesky factor of the correlation of q objectives' noise over trials; I where it is not known.

    Two metrics of the same samples err together.
    """
    noise = np.array([one.layout.residuals.ravel() for one in seeds])
    noise = noise[:, np.isfinite(noise).all(axis=0)]
    if len(noise) < 2 or not (noise.std(axis=1) > 0).all():
        return np.eye(len(seeds))
    share = 1 - 1e-6  # a correlation of 1 has no factor
    return np.asarray(np.linalg.cholesky(share * np.corrcoef(noise) + (1 - share) * np.eye(len(noise))))


def _known_to_all(frame: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """Return the rows whose value counts: of what is known beforehand those of all trials, whatever became of them."""
    return frame.assign(state="complete") if objective.column in KNOWN_BEFOREHAND else frame


def undominated(quality: Array, cost: Array) -> NDArray[np.bool_]:
    """Return (draws, k) which candidates are better than all that are no dearer; who is as good stays, at equal cost.

    quality: (draws, k), cost: (k,), both minimised.
    """
    order = np.argsort(cost, kind="stable")
    best = np.minimum.accumulate(quality[:, order], axis=1)
    last = np.searchsorted(cost[order], cost, side="right") - 1  # of those that cost no more
    first = np.searchsorted(cost[order], cost, side="left") - 1  # of those that cost less
    cheaper = np.where(first >= 0, best[:, np.maximum(first, 0)], np.inf)
    return np.asarray((quality <= best[:, last]) & (quality < cheaper))
