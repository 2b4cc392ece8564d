"""Measurements of objectives: which of them count, and whether their values may be compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ablate.candidates.objectives import STATIC, Objective
from ablate.errors import InputError, did_you_mean
from ablate.results.frames import last_rows, of_trials

# Two values of a metric that differ in one of these are values of different things (DESIGN 6).
DECIDES = (
    *("samples", "features", "features_hash", "reference_hash", "solver", "nfe", "guidance", "ema", "quantisation"),
    *("solver_settings", "labels"),
)
NOT_RECORDED = {"labels": "balanced"}  # what nothing stands for; of the others it is not known
# ... unless the study varies just that: the kind whose choice explains the difference.
EXPLAINED_BY = {"solver": "solver", "solver_settings": "solver", "nfe": "solver", "guidance": "guidance", "ema": "ema"}
# How a model is sampled: along these a front may go. The others say how well its samples were looked at,
# and values that differ in them never stand side by side.
SAMPLING = ("nfe", "guidance", "ema", "solver", "solver_settings")
FOLLOWS = {"solver_settings": "solver"}  # a solver has settings of its own
# Options with which `ablate evaluate` takes them alike; what is not here it takes alike by itself.
AGAIN = {"samples": "--samples {:g}", "nfe": "--nfe {:g}", "ema": "--ema '{}'", "solver": "--set solver={}"}


def values(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    objectives: Sequence[Objective],
    where: Mapping[str, Any] | None = None,
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Add a column for each objective to the trials; return also the fields in which the study varies measurements.

    `where` restricts the measurements, as in `{"samples": 2000}`. Raises InputError where values of
    one metric differ in what decides it.
    """
    if not all(goal.is_cost for goal in objectives):  # what a network costs does not depend on the data
        _check_data(trials)
    frame = trials.copy()
    explained: dict[str, list[str]] = {}
    for goal in objectives:
        if goal.is_recorded:
            counted = trials["state"].notna() if goal.column in STATIC else trials["state"] == "complete"
            costs = trials[goal.source].astype(float) if goal.source in trials else pd.Series(np.nan, trials.index)
            frame[goal.column] = costs.where(counted)
            if goal.column == "sample_gflops" and (metric := next((o for o in objectives if not o.is_recorded), None)):
                rows = _rows(metric, trials, metrics, where or {})  # what the samples cost that were measured
                if "sample_gflops" in rows:
                    sample_costs = trials["trial"].map(rows.set_index("trial")["sample_gflops"]).astype(float)
                    frame[goal.column] = sample_costs.fillna(frame[goal.column])
            continue
        rows = _rows(goal, trials, metrics, where or {})
        if reasons := explain(goal, rows, trials):
            explained[goal.column] = reasons
        if where or len(rows):
            frame[goal.column] = trials["trial"].map(rows.set_index("trial")["value"]).astype(float)
        else:  # a table that came without its measurements
            frame[goal.column] = trials[goal.source].astype(float) if goal.source in trials else float("nan")
    return frame, explained


def _check_data(trials: pd.DataFrame) -> None:
    """Raise InputError where trials were trained on different data: nothing that is measured later mends that."""
    if "data_hash" not in trials:
        return  # a table that was written earlier
    with_data = trials[trials["data_hash"].notna() & trials["state"].isin(("complete", "diverged"))]
    groups = with_data.groupby("data_hash", sort=False, observed=True)["trial"]
    if len(groups) > 1:
        listing = "; ".join(
            f"{str(data_hash)[:12]}… ({len(names)} trials, such as {names.iloc[0]})" for data_hash, names in groups
        )
        raise InputError(
            f"these trials were trained on different data, so they cannot be compared: {listing}. Give the trials of "
            "each data a folder of their own; measuring again does not make them alike"
        )


def check_alike(
    trials: pd.DataFrame,
    metrics: pd.DataFrame,
    objectives: Sequence[Objective],
    points: Sequence[Mapping[str, Any]],
    axes: Sequence[str],
) -> None:
    """Raise InputError where values at several settings (`points`) differ in more than the axes between them."""
    free = {axis for axis in axes if axis in SAMPLING}
    free |= {name for name, base in FOLLOWS.items() if base in free}
    for goal in objectives:
        if not goal.is_recorded and points:
            rows = pd.concat([_rows(goal, trials, metrics, point) for point in points])
            explain(goal, rows, trials, free)


def settings(
    metrics: pd.DataFrame, objectives: Sequence[Objective], axes: Sequence[str], where: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return every combination of these fields at which the objectives were measured; [{}] without fields.

    Raises InputError for a field that measurements do not have.
    """
    if not axes:
        return [{}]
    for axis in axes:
        if axis not in DECIDES or axis not in metrics:
            raise InputError(f"measurements have no {axis!r} to go along{did_you_mean(axis, DECIDES)}", "along")
    rows = _restrict(metrics, where or {})
    rows = rows[rows["metric"].isin([goal.column for goal in objectives])]
    combinations = rows[list(axes)].drop_duplicates().sort_values(list(axes))
    return [{str(name): value for name, value in row.items()} for row in combinations.to_dict("records")]


def check_where(metrics: pd.DataFrame, objectives: Sequence[Objective], where: Mapping[str, Any] | None) -> None:
    """Raise InputError where no measurement of an objective meets `where`, with the values that there are."""
    if where is not None and not isinstance(where, Mapping):
        raise InputError(f"expected a mapping such as {{'nfe': 50}}, not {where!r}", "where")
    for column, value in (where or {}).items():
        if column not in metrics:
            raise InputError(f"measurements have no {column!r}{did_you_mean(str(column), metrics.columns)}", "where")
        if not pd.api.types.is_scalar(value):
            raise InputError(f"expected one value of {column}, not {value!r}; for several: along=[{column!r}]", "where")
    for goal in objectives:
        rows = metrics[metrics["metric"] == goal.column]
        if goal.is_recorded or rows.empty:
            continue
        for column, value in (where or {}).items():
            chosen = _restrict(rows, {column: value})
            if chosen.empty:
                measured = [v for v in rows[column].drop_duplicates() if not pd.isna(v)]
                texts = [f"{v:g}" if isinstance(v, float) else repr(v) for v in sorted(measured)] or ["none recorded"]
                listing = ", ".join(texts)
                raise InputError(f"no measurement of {goal.column} has {column} {value!r}; there is {listing}", "where")
            rows = chosen


def _restrict(metrics: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    for column, value in where.items():
        if column not in metrics:
            raise InputError(f"measurements have no {column!r}{did_you_mean(column, metrics.columns)}")
        metrics = metrics[metrics[column].isna() if pd.isna(value) else metrics[column] == value]
    return metrics


def _rows(goal: Objective, trials: pd.DataFrame, metrics: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """Return the measurement of each complete trial: of several, the one like the study's own but for `where`.

    Raises InputError where there are several and none is: which of them counts would be chance.
    """
    measured = metrics[metrics["metric"] == goal.column]
    measured = measured[of_trials(measured, trials.loc[trials["state"] == "complete", "trial"])]
    chosen = _restrict(measured, where)
    if not where or not chosen["trial"].duplicated().any():
        return last_rows(chosen)
    chosen = last_rows(chosen, every=True).reset_index(drop=True)
    names = [name for name in DECIDES if name not in where]
    default = chosen[["trial"]].merge(last_rows(measured)[["trial", *names]], on="trial", how="left")
    alike = pd.Series(True, chosen.index)
    for name in names:
        alike &= (chosen[name] == default[name]) | (chosen[name].isna() & default[name].isna())
    rest = chosen[~of_trials(chosen, chosen.loc[alike, "trial"])]
    for name in names:
        if (rest.groupby("trial", observed=True)[name].nunique(dropna=False) > 1).any():
            raise InputError(_refusal(goal, name, rest[name].astype(object).where(rest[name].notna(), None), rest))
    return chosen[alike | chosen.index.isin(rest.index)].drop_duplicates("trial")


def explain(goal: Objective, rows: pd.DataFrame, trials: pd.DataFrame, free: Collection[str] = ()) -> list[str]:
    """Return the fields in which the rows differ because the study varies them; InputError for others, but `free`."""
    reasons = []
    for name in DECIDES:
        if name in free or rows[name].nunique(dropna=False) <= 1:
            continue
        paths = [
            c for c in map(str, trials.columns) if c.startswith("c.") and EXPLAINED_BY.get(name) in c[2:].split(".")
        ]
        joined = rows[["trial", name]].merge(trials[["trial", *paths]], on="trial")
        settings = joined[name].astype(object).where(joined[name].notna(), None)
        if paths and not _varies_within(settings, joined, paths):
            reasons.append(name)
        else:
            raise InputError(_refusal(goal, name, settings, joined))
    return reasons


def _varies_within(settings: pd.Series[Any], rows: pd.DataFrame, paths: Sequence[str]) -> bool:
    """Return whether trials with the same choices were measured differently."""
    keys = [rows[p].astype(str) for p in paths]
    return bool((settings.astype(str).groupby(keys, observed=True).nunique() > 1).any())


def _refusal(goal: Objective, name: str, settings: pd.Series[Any], rows: pd.DataFrame) -> str:
    texts = settings.map(lambda setting: NOT_RECORDED.get(name, "not recorded") if pd.isna(setting) else str(setting))
    groups = [(value, rows["trial"][texts == value]) for value in sorted(texts.unique())]
    listing = "; ".join(f"{value} ({len(names)} trials, such as {names.iloc[0]})" for value, names in groups)
    example = settings.dropna().iloc[0]
    again = " ".join(["ablate evaluate DIR", *([AGAIN[name].format(example)] if name in AGAIN else [])])
    if name == "solver_settings":  # such as grid=trailing, eta=0
        again = " ".join(["ablate evaluate DIR", *(f"--set solver.{one}" for one in str(example).split(", "))])
    return (
        f"the values of {goal.column} differ in {name}, so they do not measure the same thing: {listing}. "
        f"Measure all trials alike ({again}), or keep one kind with where={{{name!r}: {example!r}}}"
    )
