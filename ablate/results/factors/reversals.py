"""Where ranks reverse: who is better at one budget or cost, and worse at another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.errors import InputError
from ablate.results.factors.main_effects import Factorial, factorial
from ablate.results.factors.model import Array
from ablate.results.fronts.probable import is_logarithmic
from ablate.results.fronts.two_way import two_way
from ablate.results.quality_curves import comparable_curves
from ablate.statistics.correction import holm

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis

BUDGET = "images"  # what two points of the training differ in
MOST = 12  # candidates whose order is compared over the training: the best at the end
COSTS_MORE = 1.05  # how many times as many Gflops as another a level has that is another cost
COLUMNS = (
    *("between", "first", "second", "one", "other", "difference_first", "difference_second"),
    *("p_first", "p_second", "p"),
)


def reversals(results: StudyAnalysis, objective: Objective) -> pd.DataFrame:
    """Find where ranks reverse: `StudyFindings.reversals`."""
    rows = [*_budgets(results, objective), *_costs(results, objective)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    reversed_ = table["difference_first"] * table["difference_second"] < 0
    found = table[reversed_].sort_values("p", kind="stable").reset_index(drop=True)
    found.attrs.update(metric=objective.column, compared=len(table), alpha=0.05)
    return found


def _budgets(results: StudyAnalysis, objective: Objective) -> Iterator[tuple[Any, ...]]:
    """Yield the pairs of the best candidates at each point of the training, beside the end."""
    during = results.during_training(objective)
    curves = comparable_curves(results.trials, results.metrics, during)
    if curves.empty:
        return
    curves = curves.assign(point=curves.groupby("trial", observed=True).cumcount())
    curves = curves.merge(results.trials[["trial", "config_hash", "seed", "candidate"]], on="trial", suffixes=("_", ""))
    labels = dict(zip(curves["config_hash"], curves["candidate"], strict=True))
    tables = {
        int(str(point)): rows.pivot_table(index="config_hash", columns="seed", values="value", observed=True)
        for point, rows in curves.groupby("point", observed=True)
    }
    medians = curves.groupby("point", observed=True)["images"].median()
    images = {int(str(point)): float(median) for point, median in medians.items()}
    end = tables.pop(max(tables))
    last = max(images)
    best = list((end.mean(axis=1) * objective.sign).sort_values(kind="stable").index[:MOST])
    at_end = _differences(end.reindex(best))
    for point, table in tables.items():
        here = _differences(table.reindex(best))
        for (i, one), (j, other) in itertools.combinations(enumerate(best), 2):
            pairs = (here[0][i, j], at_end[0][i, j])
            ps = [_one_sided(found[0][i, j], found[1][i, j], found[2]) for found in (here, at_end)]
            yield (BUDGET, images[point], images[last], labels[one], labels[other], *pairs, *ps, max(ps))


def _differences(table: pd.DataFrame) -> tuple[Array, Array, float]:
    """Return (k, k) differences of means and their standard errors, one deviation for all, and its degrees."""
    values = table.to_numpy(dtype=float)
    logarithmic = is_logarithmic(values)
    layout = two_way(np.log(values) if logarithmic else values)
    means = np.exp(layout.means) if logarithmic else layout.means
    free = layout.total_degrees
    variance = float(layout.squares.sum()) / free if free >= 1 else math.nan
    counts = np.maximum(layout.counts, 1)
    errors = np.sqrt(variance * (1 / counts[:, None] + 1 / counts[None, :]))
    scaled = layout.means[:, None] - layout.means[None, :]
    return means[:, None] - means[None, :], np.where(scaled != 0, errors * _slope(scaled, means), errors), free


def _slope(scaled: Array, means: Array) -> Array:
    """Return what an error of the scaled difference (k, k) is as one of the difference of means (k,): their ratio."""
    plain = means[:, None] - means[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(plain / np.where(scaled != 0, scaled, np.nan)))


def _costs(results: StudyAnalysis, objective: Objective) -> Iterator[tuple[Any, ...]]:
    """Yield the pairs of levels of a factor at two levels of another one that differ in cost."""
    labels = results.baseline_labels
    trials, metrics = results.trials, results.metrics
    try:
        whole, _ = factorial(trials, metrics, objective, labels)
    except InputError:  # no factor
        return
    levels = whole.model.levels
    if len(levels) < 2:
        return
    costs = _gflops(trials, whole)
    for size, other in itertools.permutations(levels, 2):
        dear = [
            (a, b)
            for a, b in itertools.combinations(range(len(levels[size])), 2)
            if max(costs[size][a], costs[size][b]) > COSTS_MORE * min(costs[size][a], costs[size][b])
        ]
        if not dear:
            continue
        found, _ = factorial(trials, metrics, objective, labels, [(size, other)])
        for (a, b), (i, j) in itertools.product(dear, itertools.combinations(range(len(levels[other])), 2)):
            first, second = sorted((a, b), key=lambda level: costs[size][level])
            told = [_at(found, {size: place}, other, i, j) for place in (first, second)]
            if None in told:
                continue
            ps = [one[1] for one in told if one is not None]
            values = [one[0] for one in told if one is not None]
            names = [f"{other}={levels[other][k]}" for k in (i, j)]
            yield (size, levels[size][first], levels[size][second], *names, *values, *ps, max(ps))


def _gflops(trials: pd.DataFrame, found: Factorial) -> Mapping[str, list[float]]:
    """Return the mean Gflops of the candidates with each level, by factor."""
    first = trials.drop_duplicates("config_hash")
    codes = found.factors.codes(first.dropna(subset=[f"c.{path}" for path in found.model.levels]))
    gflops = first.dropna(subset=[f"c.{path}" for path in found.model.levels])["gflops"].to_numpy(dtype=float)
    return {
        path: [float(gflops[code == i].mean()) if (code == i).any() else math.nan for i in range(len(levels))]
        for (path, levels), code in zip(found.model.levels.items(), codes.values(), strict=True)
    }


def _at(found: Factorial, place: Mapping[str, int], path: str, i: int, j: int) -> tuple[float, float] | None:
    """Return the difference of two levels of a factor at a level of another one, and its one-sided p; None untold."""
    weights = found.model.at({**place, path: i}) - found.model.at({**place, path: j})
    if not found.tells(weights)[0]:
        return None
    difference, error = found.fit.estimate(weights)
    return difference, _one_sided(difference, error, found.fit.degrees)


def _one_sided(difference: float, error: float, degrees: float) -> float:
    """Return the p of a difference that is at least as far from 0 on its own side."""
    from scipy.special import stdtr

    if not (degrees >= 1 and error > 0):
        return math.nan
    return float(stdtr(degrees, -abs(difference) / error))
