"""Objectives: the column that a short name means, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ablate.candidates.objectives import RECORDED, Objective
from ablate.errors import InputError, did_you_mean
from ablate.results.probes import labels

# Numbers of a measurement that may themselves be an objective: how dear a sample is.
AXES = ("nfe",)


def resolve(name: str, trials: pd.DataFrame, lock: Mapping[str, Any]) -> Objective:
    """Return the objective of a study's short name (`kid`), a column, a cost (`gflops`) or a probe (`spikes`).

    Raises InputError with the nearest name where there is none.
    """
    name = name.removeprefix("m.")
    if name in (*RECORDED, *AXES):
        return Objective(name, name)
    larger = lock.get("larger_is_better") or ()
    listed = lock.get("probes")
    probes = [*labels(trials), *(map(str, listed) if isinstance(listed, list) else ())]
    if name.removeprefix("p.") in probes:
        probe = name.removeprefix("p.")
        return Objective(probe, probe, probe in larger, is_probe=True)
    columns = [c.removeprefix("m.") for c in trials.columns if c.startswith("m.")]
    short = lock.get("metrics")
    stand_ins = _stand_ins(lock, columns)
    name = stand_ins.get(name, name)
    short = {str(k): stand_ins.get(str(v), str(v)) for k, v in short.items()} if isinstance(short, Mapping) else {}
    column = name if name in columns else short.get(name)
    if column is None:
        starting = [c for c in columns if c.startswith(f"{name}_")]
        if len(starting) > 1:
            raise InputError(f"metric {name!r} means one of {', '.join(starting)}; give the column")
        if not starting and name not in short.values():
            names = [*columns, *short, *probes, *(c for c in RECORDED if c in trials.columns)]
            raise InputError(f"no metric, cost or probe is called {name!r}{did_you_mean(name, names)}")
        column = starting[0] if starting else name
    return Objective(name, column, column in larger or any(short.get(str(s)) == column for s in larger))


def _stand_ins(lock: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """Return {metric of the lock: the metric measured in its place, as the reference had too few pictures for it}."""
    entry = lock.get("otherwise")
    pairs = entry.items() if isinstance(entry, Mapping) else ()
    return {str(name): str(other) for name, other in pairs if name not in columns and other in columns}


def own_objectives(trials: pd.DataFrame, lock: Mapping[str, Any]) -> list[Objective]:
    """Return the lock's objectives; without them the first metric and Gflops.

    A metric that no trial has a value for yet (all diverged, say) is an objective all the same.
    """
    columns = [c.removeprefix("m.") for c in trials.columns if c.startswith("m.")]
    names = lock.get("objectives")
    if not isinstance(names, list) or not names:
        short = lock.get("metrics")
        stand_ins = _stand_ins(lock, columns)
        listed = [stand_ins.get(str(v), str(v)) for v in short.values()] if isinstance(short, Mapping) else []
        names = [*[*listed, *columns][:1], "gflops"]
    objectives = []
    for name in map(str, names):
        try:
            objectives.append(resolve(name, trials, lock))
        except InputError:
            objectives.append(Objective(name, next((c for c in columns if c.startswith(f"{name}_")), name)))
    return objectives
