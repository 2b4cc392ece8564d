"""Iso-FLOP curves: which size is best for a compute of training, from quality during training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.errors import InputError
from ablate.results.inherited import check as check_starts
from ablate.results.quality_curves import NoPointsError, comparable_curves
from ablate.results.scaling import not_of_size

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis

Array = NDArray[np.float64]

FEWEST = 3  # sizes at one compute: a parabola goes through fewer whatever they are
BUDGETS = 6
RESAMPLES = 300


@dataclass(frozen=True)
class IsoFlops:
    """Quality against size at several computes of training, and the best size for each.

    The second approach of Hoffmann et al. 2022. points: compute (training Gflops), label, size, quality: interpolated
    between the points of a training, a power law from one to the next, never beyond them. optima: compute, size and
    quality at the minimum of a parabola through the points at one compute, in the logarithm of the size, low and high
    (95 %, seeds drawn with replacement), sizes (how many there are) and note, which says why there is none: the best is
    the smallest or the largest that was tried. exponent: a of size ∝ compute^a over the optima, with low and high; NaN
    with fewer than two optima, and without seeds to draw from.
    """

    points: pd.DataFrame
    optima: pd.DataFrame
    size: str  # params or gflops
    exponent: float
    low: float
    high: float
    note: str

    def __str__(self) -> str:
        told = self.optima.dropna(subset=["size"])
        if told.empty:
            return f"no optimal size: {self.note}"
        if math.isnan(self.exponent):
            one = told.iloc[-1]
            return f"optimal {self.size} for {one['compute']:.3g} training Gflops: {one['size']:.3g}"
        interval = "" if math.isnan(self.low) else f" ({self.low:.2f} to {self.high:.2f})"
        return f"optimal {self.size} grow as compute^{self.exponent:.2f}{interval}, over {len(told)} computes"


def isoflops_of(
    results: StudyAnalysis, objective: Objective, size: str, budgets: int | Sequence[float] = BUDGETS
) -> IsoFlops:
    """Compute the iso-FLOP curves of a study of sizes: `StudyFindings.isoflops`."""
    trials = results.trials
    check_starts(trials)
    first = trials.drop_duplicates("config_hash").set_index("config_hash")
    costs = zip(first["gflops"].astype(float), first["params"].astype(float), strict=True)
    if why := not_of_size(results.candidates, dict(zip(first.index.astype(str), costs, strict=True))):
        raise InputError(f"an optimal size is told of candidates that differ in the size of one network alone: {why}")
    during = results.during_training(objective)
    rows = comparable_curves(trials, results.metrics, during)
    if rows.empty:
        raise NoPointsError(f"{objective.column} was not measured during training: say evaluate.at", "metric")
    rows = rows.merge(trials[["trial", "config_hash"]], on="trial")
    names = {c.config_hash: c.label for c in results.candidates}
    curves = {
        names[str(config_hash)]: [
            (one["train_gflops"].to_numpy(dtype=float), one["value"].to_numpy(dtype=float))
            for _, one in own.groupby("trial", sort=False, observed=True)
            if len(one) > 1
        ]
        for config_hash, own in rows.groupby("config_hash", sort=False, observed=True)
    }
    curves = {label: seeds for label, seeds in curves.items() if seeds}
    sizes = {names[str(name)]: float(first.loc[name, size]) for name in rows["config_hash"].unique()}
    return isoflops(curves, {label: sizes[label] for label in curves}, size, objective.sign, budgets)


def isoflops(
    curves: Mapping[str, Sequence[tuple[Array, Array]]],
    sizes: Mapping[str, float],
    size: str,
    sign: int,
    budgets: int | Sequence[float] = BUDGETS,
) -> IsoFlops:
    """Compute iso-FLOP curves from the trainings of each size.

    curves: by the label of a size, for each seed the compute and the quality at its points (ascending). sizes: by
    label. sign: 1 where smaller quality is better, −1 where larger is. budgets: computes, or how many of them, evenly
    spaced in the logarithm where three sizes or more have been measured. Raises InputError where there are none.
    """
    labels = sorted(sizes, key=lambda label: sizes[label])
    grid = _grid(curves, labels, budgets)
    positive = all((values > 0).all() for seeds in curves.values() for _, values in seeds)
    means = {label: _at(curves[label], grid, positive) for label in labels}  # (budgets,)
    table = np.array([means[label] for label in labels])  # (sizes, budgets)
    log_size = np.log([sizes[label] for label in labels])
    found = [_optimum(log_size, sign * table[:, i]) for i in range(len(grid))]
    rng = np.random.default_rng(0)
    several = all(len(curves[label]) > 1 for label in labels)
    drawn = np.full((RESAMPLES if several else 0, len(grid)), np.nan)
    for draw in drawn:
        own = np.array([_at(_picked(curves[label], rng), grid, positive) for label in labels])
        draw[:] = [_optimum(log_size, sign * own[:, i])[0] for i in range(len(grid))]
    optima = _optima(grid, table, found, drawn, sign, positive)
    points = [
        (grid[i], label, sizes[label], _unscaled(table[k, i], positive))
        for i in range(len(grid))
        for k, label in enumerate(labels)
        if math.isfinite(table[k, i])
    ]
    logs = np.log(optima["size"].to_numpy(dtype=float))
    exponent = _slope(np.log(grid), logs)
    slopes = np.array([_slope(np.log(grid), row) for row in drawn])
    slopes = slopes[np.isfinite(slopes)]
    enough = len(slopes) > RESAMPLES / 2
    low, high = np.quantile(slopes, [0.025, 0.975]) if enough else (math.nan, math.nan)
    notes = [note for note in dict.fromkeys(optima["note"]) if note]
    notes += [] if several else ["one seed each: how sure an optimum is, is not known"]
    frame = pd.DataFrame(points, columns=["compute", "label", "size", "quality"])
    return IsoFlops(frame, optima, size, exponent, float(low), float(high), "; ".join(notes))


def _picked(seeds: Sequence[tuple[Array, Array]], rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """Draw as many seeds as there are, with replacement."""
    return [seeds[k] for k in rng.integers(0, len(seeds), len(seeds))]


def _grid(
    curves: Mapping[str, Sequence[tuple[Array, Array]]], labels: Sequence[str], budgets: int | Sequence[float]
) -> Array:
    """Return the computes: those that are given, or evenly spaced where three sizes or more have been measured."""
    if not isinstance(budgets, int):
        return np.asarray(budgets, dtype=float)
    spans = np.array([(curves[label][0][0].min(), curves[label][0][0].max()) for label in labels])
    ends = np.unique(spans)
    inside = [e for e in ends if ((spans[:, 0] <= e) & (e <= spans[:, 1])).sum() >= FEWEST]
    if len(labels) < FEWEST or not inside:
        raise InputError(
            f"iso-FLOP curves take {FEWEST} sizes that were measured at one compute of training: measure quality "
            "during training (evaluate.at), and train small sizes for as much compute as large ones begin with"
        )
    low, high = min(inside), max(inside)
    return np.geomspace(low, high, budgets) if high > low else np.array([low])


def _at(seeds: Sequence[tuple[Array, Array]], grid: Array, positive: bool) -> Array:
    """Return (budgets,) the mean over seeds of log quality (or quality) at each compute; NaN beyond the points."""
    rows = []
    for compute, values in seeds:
        scaled = np.log(values) if positive else values
        rounding = 1e-9 * compute[-1]
        inside = (grid >= compute[0] - rounding) & (grid <= compute[-1] + rounding)
        rows.append(np.where(inside, np.interp(np.log(grid), np.log(compute), scaled), np.nan))
    return np.asarray(np.mean(rows, axis=0))


def _optimum(log_size: Array, values: Array) -> tuple[float, float]:
    """Return the log size and the value at the minimum of a parabola; ∓∞ beyond the sizes, NaN without three."""
    there = np.isfinite(values)
    if there.sum() < FEWEST:
        return math.nan, math.nan
    x, y = log_size[there], values[there]
    centre = x.mean()
    a, b, c = np.polyfit(x - centre, y, 2)
    best = float(x[int(y.argmin())])
    if a > 0 and x.min() <= (place := centre - b / (2 * a)) <= x.max():
        return float(place), float(c - b * b / (4 * a))
    return (-math.inf if best <= centre else math.inf), math.nan


def _optima(
    grid: Array, table: Array, found: Sequence[tuple[float, float]], drawn: Array, sign: int, positive: bool
) -> pd.DataFrame:
    rows = []
    for i, (place, value) in enumerate(found):
        count = int(np.isfinite(table[:, i]).sum())
        low, high = math.nan, math.nan
        own = drawn[~np.isnan(drawn[:, i]), i]
        if len(own) and math.isfinite(place):  # an end is 0 or infinite where the draws have no optimum there
            low, high = np.exp(np.quantile(own, [0.025, 0.975], method="nearest"))
        if math.isnan(place):
            note = "too few sizes at some computes"
        elif math.isinf(place):
            end = "smallest" if place < 0 else "largest"
            note = f"at some computes the best size is the {end} that was tried"
        else:
            note = ""
        size = math.exp(place) if math.isfinite(place) else math.nan
        rows.append((grid[i], size, low, high, _unscaled(sign * value, positive), count, note))
    return pd.DataFrame(rows, columns=["compute", "size", "low", "high", "quality", "sizes", "note"])


def _unscaled(value: float, positive: bool) -> float:
    return math.exp(value) if positive and math.isfinite(value) else float(value)


def _slope(x: Array, y: Array) -> float:
    """Return the slope of a line through the finite points; NaN with fewer than two."""
    there = np.isfinite(y)
    return float(np.polyfit(x[there], y[there], 1)[0]) if there.sum() > 1 else math.nan
