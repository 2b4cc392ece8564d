"""What the candidates with each choice come to: marginals of a space, and slices through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.candidates.names import show
from ablate.results.fronts.membership import contends
from ablate.statistics.intervals import t_interval

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

MOST = 8  # different numbers of a path that are shown one by one
PARTS = 4  # in which more are


def slices(results: StudyAnalysis, objective: Objective) -> pd.DataFrame:
    """Return a row a candidate and a path that varies: path, choice, number, candidate, config_hash, value.

    Of candidates of which no seed diverged. `number` is the choice as a number, where all of the path are; of more than
    eight different ones `choice` is the quarter of the candidates in which it lies.
    """
    table = results.front([objective.column])
    table = table[contends(table)].set_index("config_hash")
    value_of = dict(zip(table.index, table[objective.column].astype(float), strict=True))
    candidates = [c for c in results.candidates if c.config_hash in value_of]
    rows: list[dict[str, Any]] = []
    for path in varied(candidates):
        own = [c for c in candidates if path in c.choices]
        rows += [
            {
                "path": path,
                "choice": choice,
                "number": float(c.choices[path]) if is_number(c.choices[path]) else math.nan,
                "candidate": c.label,
                "config_hash": c.config_hash,
                "value": value_of[c.config_hash],
            }
            for c, choice in zip(own, groups([c.choices[path] for c in own]), strict=True)
        ]
    return pd.DataFrame(rows, columns=["path", "choice", "number", "candidate", "config_hash", "value"])


def marginals(results: StudyAnalysis, objective: Objective) -> pd.DataFrame:
    """Compute what candidates with each choice come to: `StudyFindings.marginals`."""
    points = slices(results, objective)
    front = results.front()
    members = set(front.loc[front["on_front"], "config_hash"])
    rows = []
    for (path, choice), own in points.groupby(["path", "choice"], sort=False, observed=True):
        values = own["value"].to_numpy(dtype=float)
        low, high = t_interval(values)
        best = own.iloc[int((values * objective.sign).argmin())]
        rows.append(
            {
                "path": path,
                "choice": choice,
                "n": len(own),
                "mean": float(values.mean()),
                "low": low,
                "high": high,
                "best": float(best["value"]),
                "best_candidate": best["candidate"],
                "on_front": int(own["config_hash"].isin(members).sum()),
            }
        )
    columns = ["path", "choice", "n", "mean", "low", "high", "best", "best_candidate", "on_front"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs.update(metric=objective.column, objectives=front.attrs["objectives"])
    return table


def groups(labels: Sequence[Any]) -> list[str]:
    """Return what each choice is counted under: its label; of many numbers the quarter of them in which it lies."""
    if not all(map(is_number, labels)) or len({float(label) for label in labels}) <= MOST:
        return [show(label) for label in labels]
    numbers = np.array([float(label) for label in labels])
    ordered = np.sort(numbers)
    starts = np.unique(ordered[(np.arange(PARTS) * len(ordered)) // PARTS])
    place = np.searchsorted(starts, numbers, side="right") - 1
    ends = [(numbers[place == i].min(), numbers[place == i].max()) for i in range(len(starts))]
    return [f"{ends[i][0]:.3g} to {ends[i][1]:.3g}" for i in place]


def varied(candidates: Sequence[CandidateRow]) -> list[str]:
    """Return the paths of which candidates have different choices, in the order of the study."""
    paths = dict.fromkeys(path for c in candidates for path in c.choices)
    return [path for path in paths if len({show(c.choices[path]) for c in candidates if path in c.choices}) > 1]


def is_number(label: Any) -> bool:
    """Return whether a choice is a number, and no truth value."""
    return isinstance(label, int | float | np.integer | np.floating) and not isinstance(label, bool | np.bool_)
