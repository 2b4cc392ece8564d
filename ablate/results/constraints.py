"""Constraints: which candidates break what the study asks of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ablate.results.numbers import number
from ablate.results.objectives import Objective, resolve, values


def violations(
    trials: pd.DataFrame, metrics: pd.DataFrame, lock: Mapping[str, Any], where: Mapping[str, Any] | None = None
) -> dict[str, str] | None:
    """{config_hash: what it breaks, such as `spikes 3 > 1`} for each candidate that breaks a constraint.

    None where the study has no constraints. What is compared is the mean over the complete seeds; a
    candidate keeps what it has no value of, such as a bound on attention logits where nothing attends.
    """
    wanted = lock.get("constraints")
    if not isinstance(wanted, Mapping) or not wanted:
        return None
    goals: dict[str, Objective] = {str(name): resolve(str(name), trials, lock) for name in wanted}
    frame, _ = values(trials, metrics, list(goals.values()), where)
    means = frame[frame["state"] == "complete"].groupby("config_hash")[[g.column for g in goals.values()]].mean()
    found: dict[str, str] = {}
    for config_hash, row in means.iterrows():
        broken = [_broken(row[goals[str(name)].column], name, bounds) for name, bounds in wanted.items()]
        if told := "; ".join(filter(None, broken)):
            found[str(config_hash)] = told
    return found


def _broken(value: float, name: str, bounds: Any) -> str:
    if not isinstance(bounds, Mapping):
        return ""
    low, high = bounds.get("at_least"), bounds.get("at_most")
    if high is not None and value > high:
        return f"{name} {number(value)} > {number(float(high))}"
    if low is not None and value < low:
        return f"{name} {number(value)} < {number(float(low))}"
    return ""
