"""Outcomes of candidates by seed: values on the scale of the analysis, and runs that diverged, which are worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import Objective
from ablate.errors import InputError
from ablate.results.candidates import CandidateRow
from ablate.results.measurements import values

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """The runs of k candidates over n seeds, which are the same for all."""

    seeds: list[int]  # (n) ascending
    plain: Floats  # (k, n) values in the metric's own unit; NaN where there is none
    values: (
        Floats  # (k, n) as they are compared: smaller is better, on the scale of the analysis; inf where it diverged
    )
    diverged: NDArray[np.bool_]  # (k, n)
    seeds_of: NDArray[np.int64]  # (k,) how many runs each has, however they ended

    @property
    def there(self) -> NDArray[np.bool_]:
        """(k, n) whether a run was completed and has a value."""
        return np.isfinite(self.plain)

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """(k,) whether a run of the candidate diverged: it is compared by ranks then."""
        return np.asarray(self.diverged.any(axis=1))

    def shared(self, pairs: NDArray[np.int64], looked: Sequence[int] | None = None) -> NDArray[np.bool_]:
        """(m, n) seeds that both candidates of each of (m, 2) pairs completed.

        looked: seeds that are looked at in order; then those up to the first that one of the two lacks.
        """
        both = self.there[pairs[:, 0]] & self.there[pairs[:, 1]]
        if looked is None:
            return both
        first = np.isin(self.seeds, looked)
        whole = np.zeros_like(both)
        whole[:, first] = np.logical_and.accumulate(both[:, first], axis=1)
        missing = min((seed for seed in looked if seed not in self.seeds), default=None)  # nobody has run it yet
        return whole if missing is None else whole & (np.array(self.seeds) < missing)

    def most_shared(self) -> int:
        """Return the most seeds that any two candidates both completed."""
        sets, counts = np.unique(self.there, axis=0, return_counts=True)  # few, however many candidates there are
        both = sets.astype(np.float64) @ sets.T.astype(np.float64)
        alone = np.diag(counts < 2)  # a candidate shares nothing with itself
        return int(both[~alone].max(initial=0))

    def paired_means(self, pairs: NDArray[np.int64], shared: NDArray[np.bool_]) -> Floats:
        """Return (m, 2): the means of both of each pair over the seeds that they share, in the metric's unit.

        Geometric on the log scale; NaN without such a seed.
        """
        mask, counts = shared[:, None, :], shared.sum(axis=1)[:, None]
        rows = np.where(mask, self.plain[pairs], 1.0 if self.is_log else 0.0)  # (m, 2, n)
        sums = (np.log(rows) if self.is_log else rows).sum(axis=2)
        means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        return np.asarray(np.exp(means) if self.is_log else means)

    @cached_property
    def is_log(self) -> bool:
        """Whether values are compared by their logarithm."""
        known = self.there
        return bool(known.any()) and not np.array_equal(np.abs(self.values[known]), np.abs(self.plain[known]))

    def differences(self, names: Sequence[str], pairs: NDArray[np.int64], shared: NDArray[np.bool_]) -> Differences:
        """Return {name of the first of a pair: {seed: its difference from the second}}; ratios on the log scale."""
        first, second = self.plain[pairs[:, 0]], self.plain[pairs[:, 1]]
        apart = first / second if self.is_log else first - second
        return Differences(
            {
                name: {str(self.seeds[j]): float(row[j]) for j in np.flatnonzero(there)}
                for name, row, there in zip(names, apart, shared, strict=True)
            }
        )


class Differences(dict[str, dict[str, float]]):
    """A dictionary that is not copied: pandas copies what is in a table's attrs with nearly each step."""

    def __deepcopy__(self, memo: object) -> Differences:
        return self


def outcomes_of(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objective: Objective,
    scale: str = "plain",
    where: Mapping[str, Any] | None = None,
) -> Outcomes:
    """Collect the outcomes of candidates, a row each in this order.

    Raises InputError where values of one metric differ in what decides them, and on the log scale for what is not
    above 0.
    """
    frame, _ = values(trials, metrics, [objective], where)
    rows = frame["config_hash"].map({c.config_hash: i for i, c in enumerate(candidates)})
    frame = frame[rows.notna() & frame["seed"].notna()]
    row = rows[rows.notna() & frame["seed"].notna().reindex(rows.index, fill_value=False)].to_numpy(dtype=int)
    seeds = sorted({int(seed) for seed in frame["seed"]})
    column = np.searchsorted(seeds, frame["seed"].to_numpy(dtype=int)) if seeds else np.empty(0, dtype=int)
    state = frame["state"].to_numpy()
    measured = np.where(state == "complete", frame[objective.column].to_numpy(dtype=float), np.nan)
    shape = (len(candidates), len(seeds))
    plain, diverged = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    plain[row, column] = np.where(np.isfinite(measured), measured, np.nan)
    diverged[row, column] = state == "diverged"
    plain[diverged] = np.nan
    compared = plain
    if scale == "log":
        if (low := np.nanmin(plain, initial=np.inf)) <= 0:
            raise InputError(
                f"{objective.column} has values that are not above 0 ({low:.4g}), which have no logarithm: the "
                "analysis was declared on the log scale, and cannot be done on it"
            )
        compared = np.log(plain)
    compared = np.where(diverged, np.inf, objective.sign * compared)
    counts = np.bincount(row, minlength=len(candidates)).astype(np.int64)
    return Outcomes(seeds, plain, compared, diverged, counts)
