"""The Pareto front so far, for the live view: computed from the trials' records alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.candidates.names import Names

if TYPE_CHECKING:
    from ablate.candidates.objectives import Constraint, Objective


@dataclass(frozen=True)
class FrontPoint:
    """A candidate on the Pareto front so far."""

    label: str
    values: tuple[float, ...]  # one an objective: the mean over the seeds that have one
    seeds: int


def best_front(
    records: Mapping[str, Mapping[str, Any]],
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint] = (),
    names: Names | None = None,
) -> list[FrontPoint]:
    """Return the candidates on the front, the best in the first objective first; diverged seeds do not count.

    One that breaks a constraint by its mean over the seeds is left out.
    """
    import numpy as np

    from ablate.results.front import nondominated

    if not objectives:
        return []
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records.values():
        groups.setdefault(str(record["config_hash"]), []).append(record)
    admitted = [group for group in groups.values() if not any(_breaks(group, constraint) for constraint in constraints)]
    points = [one for group in admitted if (one := _front_point(group, objectives, names or Names())) is not None]
    if not points:
        return []
    signs = np.array([-1.0 if o.larger_is_better else 1.0 for o in objectives])
    best = nondominated(np.array([one.values for one in points]) * signs)
    front = [one for one, on in zip(points, best, strict=True) if on]
    return sorted(front, key=lambda one: one.values[0] * signs[0])


def _breaks(group: Sequence[Mapping[str, Any]], constraint: Constraint) -> bool:
    values = [constraint.of.value(record) for record in group if record["state"] == "complete"]
    points = [value for value in values if value is not None]
    return bool(points) and constraint.excess(statistics.fmean(points)) > 0


def _front_point(
    group: Sequence[Mapping[str, Any]], objectives: Sequence[Objective], names: Names
) -> FrontPoint | None:
    rows = [[o.value(record) for o in objectives] for record in group if record["state"] == "complete"]
    whole = [[v for v in row if v is not None and math.isfinite(v)] for row in rows]
    whole = [row for row in whole if len(row) == len(objectives)]
    if not whole:
        return None
    return FrontPoint(names(group[0]["choices"]), tuple(map(statistics.fmean, zip(*whole, strict=True))), len(whole))
