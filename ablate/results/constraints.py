"""Constraints of a study (upper and lower bounds), and which candidates violate them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ablate.candidates.objectives import Constraint
from ablate.results.measurements import values
from ablate.results.numbers import number
from ablate.results.objectives import resolve

BOUNDS = ("at_most", "at_least")


def constraints_of(trials: pd.DataFrame, lock: Mapping[str, Any]) -> dict[str, Constraint]:
    """Return the constraints that the study's lock file holds, by the name that the study gives each."""
    by_name = lock.get("constraints")
    constraints = {}
    for name, limits in by_name.items() if isinstance(by_name, Mapping) else ():
        values = limits if isinstance(limits, Mapping) else {}
        bounds = {key: float(values[key]) for key in BOUNDS if values.get(key) is not None}
        constraints[str(name)] = Constraint(resolve(str(name), trials, lock), **bounds)
    return constraints


def violations(
    trials: pd.DataFrame, metrics: pd.DataFrame, lock: Mapping[str, Any], where: Mapping[str, Any] | None = None
) -> dict[str, str] | None:
    """Return {config_hash: what it breaks, such as `spikes 3 > 1`} of the candidates that break a constraint.

    None where the study has no constraints. What is compared is the mean over the complete seeds; a
    candidate keeps what it has no value of, such as a bound on attention logits where nothing attends.
    """
    constraints = constraints_of(trials, lock)
    if not constraints:
        return None
    goals = [constraint.of for constraint in constraints.values()]
    frame, _ = values(trials, metrics, goals, where)
    means = (
        frame[frame["state"] == "complete"]
        .groupby("config_hash", observed=True)[[goal.column for goal in goals]]
        .mean()
    )
    broken: dict[str, str] = {}
    for config_hash, row in means.iterrows():
        each = [_broken(name, constraint, float(row[constraint.of.column])) for name, constraint in constraints.items()]
        if text := "; ".join(filter(None, each)):
            broken[str(config_hash)] = text
    return broken


def _broken(name: str, constraint: Constraint, value: float) -> str:
    """Format a violation, such as `spikes 3 > 1`; '' where the value keeps its bounds or is missing."""
    if not constraint.excess(value) > 0:
        return ""
    if value > constraint.at_most:
        return f"{name} {number(value)} > {number(constraint.at_most)}"
    return f"{name} {number(value)} < {number(constraint.at_least)}"
