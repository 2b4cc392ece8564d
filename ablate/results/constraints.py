"""Constraints: which candidates break what the study asks of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ablate.candidates.objectives import Constraint
from ablate.results.numbers import number
from ablate.results.objectives import resolve, values

BOUNDS = ("at_most", "at_least")


def constraints_of(trials: pd.DataFrame, lock: Mapping[str, Any]) -> dict[str, Constraint]:
    """Return the constraints that the study's lock file holds, by the name that the study gives each."""
    held = lock.get("constraints")
    constraints = {}
    for name, bounds in held.items() if isinstance(held, Mapping) else ():
        given = bounds if isinstance(bounds, Mapping) else {}
        limits = {key: float(given[key]) for key in BOUNDS if given.get(key) is not None}
        constraints[str(name)] = Constraint(resolve(str(name), trials, lock), **limits)
    return constraints


def violations(
    trials: pd.DataFrame, metrics: pd.DataFrame, lock: Mapping[str, Any], where: Mapping[str, Any] | None = None
) -> dict[str, str] | None:
    """{config_hash: what it breaks, such as `spikes 3 > 1`} for each candidate that breaks a constraint.

    None where the study has no constraints. What is compared is the mean over the complete seeds; a
    candidate keeps what it has no value of, such as a bound on attention logits where nothing attends.
    """
    constraints = constraints_of(trials, lock)
    if not constraints:
        return None
    goals = [constraint.of for constraint in constraints.values()]
    frame, _ = values(trials, metrics, goals, where)
    means = frame[frame["state"] == "complete"].groupby("config_hash")[[goal.column for goal in goals]].mean()
    broken: dict[str, str] = {}
    for config_hash, row in means.iterrows():
        each = [_broken(name, constraint, float(row[constraint.of.column])) for name, constraint in constraints.items()]
        if text := "; ".join(filter(None, each)):
            broken[str(config_hash)] = text
    return broken


def _broken(name: str, constraint: Constraint, value: float) -> str:
    """`spikes 3 > 1` where a value is beyond a bound, else ''; what is missing is beyond none."""
    if not constraint.excess(value) > 0:
        return ""
    if value > constraint.at_most:
        return f"{name} {number(value)} > {number(constraint.at_most)}"
    return f"{name} {number(value)} < {number(constraint.at_least)}"
