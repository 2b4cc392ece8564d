"""The two-way layout of candidates and seeds: value = candidate + seed + noise, by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDING = 1e-9  # of the seeds' equations, relative to the largest: what is less is 0


@dataclass(frozen=True)
class TwoWay:
    """Candidates' means as if each had all seeds, and what no seed and no candidate explains: the noise.

    A seed that is shared moves all candidates alike as far as it does, and what it does is no noise. Where seeds do not
    connect the candidates (none shared, say), nothing is known of them: then they are part of the noise.
    """

    means: Array  # (k,) NaN without a value
    counts: NDArray[np.int64]  # (k,) values
    squares: Array  # (k,) sums of squared residuals
    degrees: Array  # (k,) degrees of freedom of these, which are shares of those of the whole
    residuals: Array  # (k, s) NaN without a value
    seeds: Array  # (s,) how far a seed moves all candidates, of mean 0; NaN where that is not known
    shared: bool  # whether the seeds' own part was taken out

    @property
    def total_degrees(self) -> float:
        """Degrees of freedom of the noise over all candidates."""
        return float(self.degrees.sum())


def two_way(values: Array) -> TwoWay:
    """Fit the layout to (k, s) values of k candidates and s seeds, NaN where there is none."""
    there = np.isfinite(values)
    counts = there.sum(axis=1)
    n = np.maximum(counts, 1)
    filled = np.where(there, values, 0.0)
    means = np.where(counts > 0, filled.sum(axis=1) / n, np.nan)
    weights = there / n[:, None]  # (k, s)
    # The candidates eliminated, the seeds' effects are those of s equations.
    equations = np.diag(there.sum(axis=0).astype(float)) - there.T @ weights
    used = there.any(axis=0)
    inverse = np.linalg.pinv(equations, rcond=ROUNDING, hermitian=True)
    rank = int((np.linalg.eigvalsh(equations) > ROUNDING * max(float(equations.max(initial=0)), 1.0)).sum())
    shared = rank == int(used.sum()) - 1 > 0
    centred = np.where(there, values - means[:, None], 0.0)
    if not shared:
        squares = (centred**2).sum(axis=1)
        degrees = np.maximum(counts - 1, 0).astype(float)
        unknown = np.full(values.shape[1], np.nan)
        return TwoWay(means, counts, squares, degrees, np.where(there, centred, np.nan), unknown, False)
    seeds = inverse @ centred.sum(axis=0)
    adjusted = means - np.where(counts > 0, weights @ seeds, 0.0) + seeds[used].mean()
    residuals = np.where(there, centred - seeds[None, :] + (weights @ seeds)[:, None], 0.0)
    contrasts = np.eye(values.shape[1])[None, :, :] - weights[:, None, :]  # (k, s, s)
    seeds_part = np.einsum("kij,jl,kil->ki", contrasts, inverse, contrasts)
    free = np.where(there, 1.0 - 1.0 / n[:, None] - seeds_part, 0.0)
    squares, degrees = (residuals**2).sum(axis=1), np.maximum(free, 0.0).sum(axis=1)
    moves = np.where(used, seeds - seeds[used].mean(), np.nan)
    return TwoWay(adjusted, counts, squares, degrees, np.where(there, residuals, np.nan), moves, True)


def by_seed(frame: pd.DataFrame, column: str, config_hashes: Sequence[str]) -> Array:
    """Return (k, s) values of a column over complete trials, a row a candidate and a column a seed; NaN without one."""
    complete: Any = frame[(frame["state"] == "complete") & frame["config_hash"].notna()]
    rows = pd.Index(list(config_hashes)).get_indexer(complete["config_hash"])
    seeds, columns = np.unique(complete["seed"].to_numpy(dtype=float), return_inverse=True)
    values = np.full((len(config_hashes), max(len(seeds), 1)), np.nan)
    known = rows >= 0
    values[rows[known], columns[known]] = complete[column].to_numpy(dtype=float)[known]
    return np.where(np.isfinite(values), values, np.nan)
