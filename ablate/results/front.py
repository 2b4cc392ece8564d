"""The Pareto front: the candidates that no other dominates in all objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import STATIC, Objective
from ablate.errors import InputError
from ablate.results.candidates import CandidateRow, labelled
from ablate.results.measurements import check_alike, settings, values
from ablate.results.objectives import AXES

NAMED = 3  # candidates that a message names
WITHOUT_VALUE = ("diverged", "failed", "paused")  # states of trials that have no value, counted by candidate


def front(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[CandidateRow],
    objectives: Sequence[Objective],
    where: Mapping[str, Any] | None = None,
    along: Sequence[str] = (),
    violations: Mapping[str, str] | None = None,
    reference: Mapping[str, float] | None = None,
    adjusted: bool = False,
) -> pd.DataFrame:
    """Compute each candidate's mean over its complete seeds, and whether it is non-dominated.

    adjusted: whether means of what is measured are least-squares means, as they have to be where a seeding gave
    candidates other numbers of seeds (`adjusted_means`).

    violations: {config_hash: which constraint it breaks}, where the study has constraints: such a candidate
    is not on the front, nor does it beat one that could be; then the column `violates` says what it breaks.

    along: fields of a measurement that say how a model is sampled (`nfe`, `guidance`, `ema`, `solver`), of
    which each value makes a point of its own, so that a candidate that was measured at five numbers of
    evaluations stands there five times. An objective of that name (`nfe`) is one of them without being said.

    Columns: candidate, config_hash, `c.*`, then `<objective>` and `<objective>.sd` (n − 1 in the
    denominator; missing with one seed) for each, n (complete seeds with every objective finite),
    diverged, failed and paused (seeds that have no value), on_front. The front comes first, then what it
    beats, then candidates of which a seed diverged, then those without a value; each part from the best
    to the worst in the first objective.

    A candidate of which a seed diverged is not on the front, whatever its other seeds gave: losing the
    worst of its seeds would make it look better. Only where no candidate came through with all seeds do they
    stand there by the means of those that were completed.

    Two equal candidates are both on the front. `attrs`: objectives; hypervolume, which the front covers up
    to its reference_point; and `note` where the study itself varies how values are taken. `reference`
    gives the reference point, {objective: value}: hypervolumes compare only at one reference point. By
    default it lies a tenth of the front's range beyond the worst that the front holds in each objective,
    so that what the front beats does not move it, and another front has another. Inside the front no point is one: then
    the hypervolume is None, and `refused` says what lies beyond it.

    Raises InputError where values of one metric differ in what decides it, over all the points.
    """
    columns = list(dict.fromkeys(goal.column for goal in objectives))
    axes = list(dict.fromkeys([*along, *(column for column in columns if column in AXES)]))
    measured_goals = [goal for goal in objectives if goal.column not in AXES]
    if axes and all(goal.is_recorded for goal in measured_goals):
        raise InputError(f"a front along {' and '.join(axes)} needs a metric among its objectives", "objectives")
    first, tables = labelled(candidates), list[pd.DataFrame]()
    explained: dict[str, list[str]] = {}
    points = settings(metrics, measured_goals, axes, where)
    if axes:
        check_alike(trials, metrics, measured_goals, [{**(where or {}), **point} for point in points], axes)
    for point in points:
        frame, reasons = values(trials, metrics, measured_goals, {**(where or {}), **point})
        frame = frame.assign(**{axis: point[axis] for axis in axes if axis in columns})
        explained.update(reasons)
        measured_columns = [goal.column for goal in measured_goals if adjusted and not goal.is_cost]
        setting = {axis: value for axis, value in point.items() if axis not in columns}
        means = _means(frame, columns, measured_columns).reindex(first["config_hash"]).set_axis(first.index)
        table = first.assign(**setting).join(means)
        # Along an axis not every candidate is measured at every value.
        tables.append(table[table["n"] > 0] if axes else table)
    table = pd.concat(tables, ignore_index=True)
    signs = np.array(list({goal.column: goal.sign for goal in objectives}.values()), dtype=float)
    minimised = table[columns].to_numpy(dtype=float) * signs
    usable = np.isfinite(minimised).all(axis=1) & (table["n"].to_numpy(dtype=float) > 0)
    valued, diverged = usable.copy(), usable & (table["diverged"].to_numpy(dtype=float) > 0)
    if (usable & ~diverged).any():
        usable &= ~diverged
    if violations is not None:
        table["violates"] = [violations.get(str(h), "") for h in table["config_hash"].tolist()]
        usable &= (table["violates"] == "").to_numpy(dtype=bool)
    table["on_front"] = False
    table.loc[usable, "on_front"] = nondominated(minimised[usable])
    order = np.lexsort([minimised[:, 0], diverged, ~valued, ~usable, ~table["on_front"].to_numpy(dtype=bool)])
    attrs: dict[str, Any] = {"objectives": columns, "hypervolume": None, "reference_point": None}
    on_front = minimised[table["on_front"].to_numpy(dtype=bool)]
    if len(on_front):
        reference_point = _default_reference(on_front) if reference is None else _as_point(reference, columns) * signs
        names = list(table.loc[table["on_front"], "candidate"])
        if refused := refusal(reference_point, on_front, names, columns, signs):
            attrs["refused"] = refused
        else:
            attrs["hypervolume"] = hypervolume(on_front, reference_point)
        attrs["reference_point"] = dict(zip(columns, (reference_point * signs).tolist(), strict=True))
    if explained:
        text = "; ".join(f"{column} by {' and '.join(fields)}" for column, fields in explained.items())
        attrs["note"] = f"the study itself varies how values are taken: {text}"
    moved = {*axes, *(field for fields in explained.values() for field in fields)} & {"nfe", "guidance"}
    if moved and "gflops" in columns and "sample_gflops" not in columns:
        text = f"gflops is one call without guidance: what {' and '.join(sorted(moved))} cost is in sample_gflops"
        attrs["note"] = f"{attrs['note']}; {text}" if "note" in attrs else text
    table = table.iloc[order].reset_index(drop=True)
    table.attrs.update(attrs)
    return table


def nondominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (N,) which of (N, M) finite points, all minimised, no other dominates; equal points stay together."""
    import moocore

    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=bool)


def hypervolume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the hypervolume of (N, M) minimised points up to a reference point (M,); points beyond it add nothing."""
    import moocore

    return float(moocore.hypervolume(points, ref=reference))


def _as_point(reference: Mapping[str, float], columns: Sequence[str]) -> NDArray[np.float64]:
    """Return the reference point (M,) in the order of the objectives; InputError where one is missing."""
    if set(reference) != set(columns):
        raise InputError(f"expected a number for each of {', '.join(columns)}, not {dict(reference)!r}", "reference")
    return np.array([float(reference[column]) for column in columns])


def refusal(
    reference: NDArray[np.float64],
    points: NDArray[np.float64],
    names: Sequence[str],
    columns: Sequence[str],
    signs: NDArray[np.float64],
) -> str:
    """Say why a reference point (M,) is none for a front (N, M), minimised: the points that it is not behind; or ''."""
    who = [name for name, point in zip(names, points, strict=True) if (point >= reference).any()]
    if not who:
        return ""
    listed = ", ".join(who[:NAMED]) + (f" and {len(who) - NAMED} more" if len(who) > NAMED else "")
    given, enough = (
        ", ".join(f"{column}: {value:.4g}" for column, value in zip(columns, point * signs, strict=True))
        for point in (reference, np.maximum(reference, _default_reference(points)))
    )
    return (
        f"the point {{{given}}} lies inside the front: {listed} {'is' if len(who) == 1 else 'are'} not better than it "
        f"in every objective, and would count nothing; one behind all of the front is {{{enough}}}"
    )


def _default_reference(points: NDArray[np.float64]) -> NDArray[np.float64]:
    worst, span = points.max(axis=0), np.ptp(points, axis=0)
    margin = 0.1 * np.where(span > 0, span, np.abs(worst))
    return np.asarray(worst + np.where(margin > 0, margin, 1.0))


def adjusted_means(values: pd.Series[Any], candidates: pd.Series[Any], seeds: pd.Series[Any]) -> pd.Series[Any]:
    """Compute least-squares means of (n,) values by candidate: as if each had all of the seeds.

    A seed moves all candidates alike, as far as it does: value = candidate + seed (the two-way layout without
    interaction). With the same seeds for all, these are the plain means. Plain means also where seeds and candidates
    do not hang together, since nothing compares them then.
    """
    plain = values.groupby(candidates, observed=True).mean().astype(float)
    rows, names = pd.factorize(candidates)
    columns, numbers = pd.factorize(seeds)
    if not len(values) or len(values) == len(names) * len(numbers):
        return plain
    layout = np.zeros((len(values), len(names) + len(numbers)))
    layout[np.arange(len(values)), rows] = 1
    layout[np.arange(len(values)), len(names) + columns] = 1
    solution, _, rank, _ = np.linalg.lstsq(layout, values.to_numpy(dtype=float), rcond=None)
    if rank < len(names) + len(numbers) - 1:
        return plain
    return pd.Series(solution[: len(names)] + solution[len(names) :].mean(), index=names).reindex(plain.index)


def _means(frame: pd.DataFrame, columns: Sequence[str], adjusted: Sequence[str] = ()) -> pd.DataFrame:
    """Compute by config_hash each column's mean and deviation over the complete seeds, and how many seeds there are.

    adjusted: columns whose means are least-squares means.
    """
    states, hashes = frame["state"], frame["config_hash"]
    finite = (states == "complete") & np.isfinite(frame[list(columns)].to_numpy(dtype=float)).all(axis=1)
    complete = frame[finite].groupby("config_hash", observed=True)
    means = pd.DataFrame(index=pd.Index(hashes.dropna().unique(), name="config_hash"))
    for column in columns:
        # What a network costs is known before it is trained.
        groups = frame.groupby("config_hash", observed=True) if column in STATIC else complete
        column_means, least = groups[column].mean().astype(float), groups[column].min().astype(float)
        # Of equal values the mean is that value, however many there are: else rounding would make one candidate dearer.
        means[column] = column_means.where(least < groups[column].max().astype(float), least)
        if column in adjusted:
            whole = frame[finite]
            means[column] = adjusted_means(whole[column], whole["config_hash"], whole["seed"])
        means[f"{column}.sd"] = complete[column].std(ddof=1)
    without = {state: states == state for state in WITHOUT_VALUE}
    for name, flags in {"n": finite, **without}.items():
        means[name] = flags.groupby(hashes, observed=True).sum().astype(int)
    return means
