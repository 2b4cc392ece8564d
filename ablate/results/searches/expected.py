"""What the best of many candidates is expected to reach on fresh seeds: the winner's curse, by empirical Bayes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.results.candidates import labelled
from ablate.results.fronts.drawn_fronts import SEED
from ablate.results.fronts.probable import draw_means, draws_for, read_seeds
from ablate.results.fronts.spread import NoSpreadError
from ablate.results.fronts.two_way import by_seed
from ablate.results.inherited import inherited
from ablate.results.measurements import values
from ablate.results.searches.confirmed import spread_elsewhere

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis


def expected(results: StudyAnalysis, objective: Objective, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Compute what each candidate is expected to reach on fresh seeds: `StudyFindings.expected`."""
    frame, _ = values(results.trials, results.metrics, [objective], where)
    told = labelled(results.candidates)
    table = by_seed(frame, objective.column, list(told["config_hash"]))
    there = np.isfinite(table)
    counts = there.sum(axis=1)
    told["n"] = counts
    told["mean"] = np.where(counts > 0, np.where(there, table, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)
    told = told.assign(expected=np.nan, low=np.nan, high=np.nan)
    diverged = set(frame.loc[frame["state"] == "diverged", "config_hash"].astype(str))
    apart = diverged | set(inherited(results.trials))
    rows = np.flatnonzero((counts > 0) & ~told["config_hash"].isin(apart).to_numpy())
    note, spread = "", None
    try:
        if not len(rows):
            raise NoSpreadError("no candidate has a value")
        seeds = read_seeds(table[rows], spread_elsewhere(results, [objective]).get(objective.column))
    except NoSpreadError as error:
        note = error.message
    else:
        costs: Any = results.trials.groupby("config_hash", observed=True)["gflops"].min().reindex(told["config_hash"])
        cost, rng = costs.to_numpy(dtype=float)[rows], np.random.default_rng(SEED)
        drawn = draw_means(seeds, cost, rng, draws_for(len(rows)))
        ends = np.quantile(drawn, [0.025, 0.975], axis=0)
        for name, numbers in zip(("expected", "low", "high"), (np.median(drawn, axis=0), *ends), strict=True):
            column = np.full(len(told), np.nan)
            column[rows] = numbers
            told[name] = column
        if seeds.spread is not None:
            spread = float(np.sqrt(np.median(seeds.spread.variances)))
    order = np.lexsort([(told["mean"] * objective.sign).to_numpy(), (told["expected"] * objective.sign).to_numpy()])
    told = told.iloc[order].reset_index(drop=True)
    relative = spread is not None and seeds.logarithmic
    told.attrs.update(metric=objective.column, spread=spread, relative=relative, note=note)
    return told
