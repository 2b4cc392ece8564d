"""The front: which candidates no other beats in every objective at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.errors import InputError
from ablate.results.candidates import Candidate
from ablate.results.objectives import AXES, Objective, settings, values
from ablate.trial import STATIC


def front(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    candidates: Sequence[Candidate],
    objectives: Sequence[Objective],
    where: Mapping[str, Any] | None = None,
    along: Sequence[str] = (),
    violations: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Every candidate's mean over its complete seeds, and whether it is non-dominated.

    violations: {config_hash: which constraint it breaks}, where the study has constraints: such a candidate
    is not on the front, nor does it beat one that could be; then the column `violates` says what it breaks.

    along: fields of a measurement (`nfe`, `guidance`, `ema`, `solver`, `samples`) of which each value
    makes a point of its own, so that a candidate that was measured at five numbers of evaluations
    stands there five times. An objective of that name (`nfe`) is one of them without being said.

    Columns: candidate, config_hash, `c.*`, then `<objective>` and `<objective>.sd` (n − 1 in the
    denominator; missing with one seed) for each, n (complete seeds with every objective finite),
    diverged and failed (seeds that have no value), on_front. The front comes first, each part from
    the best to the worst in the first objective.

    Two equal candidates are both on the front. `attrs`: objectives, hypervolume (of the front) and
    its reference_point (each objective's worst mean, and a tenth of the range beyond it), and
    `note` where the study itself varies how values are taken.

    Raises InputError where values of one metric differ in what decides it.
    """
    columns = [goal.column for goal in objectives]
    axes = list(dict.fromkeys([*along, *(column for column in columns if column in AXES)]))
    measured_goals = [goal for goal in objectives if goal.column not in AXES]
    if axes and all(goal.is_recorded for goal in measured_goals):
        raise InputError(f"a front along {' and '.join(axes)} needs a metric among its objectives", "objectives")
    rows: list[dict[str, Any]] = []
    explained: dict[str, list[str]] = {}
    for at in settings(metrics, measured_goals, axes, where):
        frame, why = values(trials, metrics, measured_goals, {**(where or {}), **at})
        frame = frame.assign(**{axis: at[axis] for axis in axes if axis in columns})
        explained.update(why)
        found = [_row(c, frame[frame["config_hash"] == c.config_hash], columns, at) for c in candidates]
        rows.extend(row for row in found if row["n"] or not axes)  # not every candidate is measured at every value
    table = pd.DataFrame(rows)
    if table.empty:
        measured = [name for c in columns for name in (c, f"{c}.sd")]
        table = pd.DataFrame(columns=["candidate", "config_hash", *measured, "n", "diverged", "failed"])
    signs = np.array([goal.sign for goal in objectives], dtype=float)
    points = table[columns].to_numpy(dtype=float) * signs
    usable = np.isfinite(points).all(axis=1) & (table["n"].to_numpy(dtype=float) > 0)
    if violations is not None:
        table["violates"] = table["config_hash"].map(dict(violations)).fillna("")
        usable &= (table["violates"] == "").to_numpy(dtype=bool)
    table["on_front"] = False
    table.loc[usable, "on_front"] = nondominated(points[usable])
    order = np.lexsort([points[:, 0], ~usable, ~table["on_front"].to_numpy(dtype=bool)])
    attrs: dict[str, Any] = {"objectives": columns, "hypervolume": None, "reference_point": None}
    if usable.any():
        reference = _reference(points[usable])
        attrs["hypervolume"] = hypervolume(points[usable], reference)
        attrs["reference_point"] = dict(zip(columns, (reference * signs).tolist(), strict=True))
    if explained:
        told = "; ".join(f"{column} by {' and '.join(fields)}" for column, fields in explained.items())
        attrs["note"] = f"the study itself varies how values are taken: {told}"
    table = table.iloc[order].reset_index(drop=True)
    table.attrs.update(attrs)
    return table


def nondominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of finite (N, M) points, all to be minimised, no other dominates; equal points stay together."""
    import moocore

    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=bool)


def hypervolume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The volume between minimised (N, M) points and the reference point (M,)."""
    import moocore

    return float(moocore.hypervolume(points, ref=reference))


def _reference(points: NDArray[np.float64]) -> NDArray[np.float64]:
    worst, span = points.max(axis=0), np.ptp(points, axis=0)
    margin = 0.1 * np.where(span > 0, span, np.abs(worst))
    return np.asarray(worst + np.where(margin > 0, margin, 1.0))


def _row(candidate: Candidate, of: pd.DataFrame, columns: Sequence[str], at: Mapping[str, Any]) -> dict[str, Any]:
    complete = of[of["state"] == "complete"]
    finite = complete[np.isfinite(complete[list(columns)].to_numpy(dtype=float)).all(axis=1)]
    row: dict[str, Any] = {"candidate": candidate.label, "config_hash": candidate.config_hash}
    row.update({f"c.{path}": label for path, label in candidate.choices.items()})
    row.update({axis: value for axis, value in at.items() if axis not in columns})
    for column in columns:
        known = of if column in STATIC else finite  # what a network costs is known untrained
        row[column] = known[column].mean()
        row[f"{column}.sd"] = finite[column].std(ddof=1)
    row["n"] = len(finite)
    row["diverged"] = int((of["state"] == "diverged").sum())
    row["failed"] = int((of["state"] == "failed").sum())
    return row
