"""Checks of the ledger's trials: whether the study can have asked for one, and whether its scores are right."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ablate.candidates.space import Space
from ablate.kinds.design import Dimension

ROUNDING = 1e-9  # relative: up to here two values are one


def problem_of(trial: FrozenTrial, space: Space, listed: Collection[str] | None, seen: Collection[str]) -> str | None:
    """Return why a study cannot have asked for a trial; None where it can.

    listed: keys of all candidates of a finite design, None for a search. seen: keys of the trials before it.
    """
    dimensions = {d.path: d for d in space.dimensions}
    for path, label in trial.params.items():
        if path not in dimensions or not holds(dimensions[path], label):
            return f"has {path}={label}, which the study does not vary so"
    if listed is not None and is_complete(trial, space) and trial.state != TrialState.WAITING:
        if (candidate := key(trial.params)) not in listed:
            return "is of a candidate that the study does not list"
        if candidate in seen:
            return "is of a candidate that was asked for before"
    return None


def is_complete(trial: FrozenTrial, space: Space) -> bool:
    """Return whether every dimension that exists under the trial's own choices was suggested."""
    params: dict[str, Any] = trial.params
    return all(d.path in params or not space.present(params, d.path) for d in space.dimensions)


def with_values(trial: FrozenTrial, values: Sequence[float] | None) -> FrozenTrial:
    """Return the same trial with these values, or with its own for None."""
    return optuna.trial.create_trial(
        state=trial.state if values is None else TrialState.COMPLETE,
        values=trial.values if values is None else list(values),
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
    )


def has_values(trial: FrozenTrial, values: Sequence[float]) -> bool:
    """Return whether a trial is complete with these values, but for rounding."""
    own = trial.values if trial.state == TrialState.COMPLETE else None
    return (
        own is not None
        and len(own) == len(values)
        and all(math.isclose(a, b, rel_tol=ROUNDING) for a, b in zip(own, values, strict=True))
    )


def key(assignment: Mapping[str, Any]) -> str:
    """Return a text that is the same for assignments that differ by rounding alone."""
    rounded = {path: f"{label:.12g}" if isinstance(label, float) else label for path, label in assignment.items()}
    return json.dumps(rounded, sort_keys=True)


def holds(dimension: Dimension, label: Any) -> bool:
    """Return whether a label is one of a dimension's choices, or lies in its range."""
    if dimension.choices:
        return any(
            label == choice and isinstance(label, bool) == isinstance(choice, bool) for choice in dimension.choices
        )
    assert dimension.low is not None and dimension.high is not None
    return isinstance(label, int | float) and dimension.low <= label <= dimension.high
