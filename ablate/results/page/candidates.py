"""The candidates as the page's charts see them: what each is, by what it differs, its values with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.candidates.names import show
from ablate.candidates.objectives import COSTS, Objective
from ablate.errors import InputError
from ablate.io.text import label, printable
from ablate.results.figures import style
from ablate.results.front import WITHOUT_VALUE
from ablate.results.intervals import intervals

if TYPE_CHECKING:
    import pandas as pd

    from ablate.results.analysis import StudyAnalysis

SHORT = 7  # signs of a candidate's id, as of a commit; more where two would share them

Interval = tuple[float, float | None, float | None]  # mean, low and high; no interval where the spread is not known


def measures(results: StudyAnalysis) -> dict[str, dict[str, Any]]:
    """Return what candidates are measured by, {column: label, whether larger is better, whether a cost}.

    The study's metrics, then the costs that differ or were recorded. What cannot be compared is left out; the table's
    `problems` say why.
    """
    found: dict[str, dict[str, Any]] = {}
    for goal in [*results.measured, *(Objective(cost, cost) for cost in COSTS if cost in results.trials)]:
        if goal.is_cost and not np.isfinite(results.trials[goal.column].astype(float)).any():
            continue
        try:
            own = _values(results, goal)
        except InputError:
            continue
        if own:
            found[goal.column] = {
                "label": printable(style.axis_label(goal)),
                "larger": goal.larger_is_better,
                "cost": goal.is_cost,
                "values": own,
            }
    return found


def axes(results: StudyAnalysis, found: Mapping[str, object]) -> dict[str, str]:
    """Return the columns that the front's chart begins with: x a cost where the study has one, y its quality."""
    quality = results.quality
    cost = next((o for o in results.objectives() if o.is_cost), Objective("gflops", "gflops"))
    y = quality.column if quality is not None and quality.column in found else next(iter(found), "")
    x = cost.column if cost.column in found else y
    return {"x": x, "y": y}


def rows(results: StudyAnalysis, numbers: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a mapping a candidate, in the order of the table `numbers` (the best first).

    id, name, baseline, front (whether on it), chance (probability to be; None where not known), violates, lost (seeds
    without a value, in words), n, diff ([path, the baseline's choice, its own] where they differ), look.
    """
    base = results.baseline
    by_hash = {c.config_hash: c for c in results.candidates}
    ids = short_ids([c.config_hash for c in results.candidates])
    wanted = [name for name in ("on_front", "front_probability", "violates", "n", *WITHOUT_VALUE) if name in numbers]
    plain = numbers[["config_hash", *wanted]].to_dict("records")
    return [
        {
            "hash": str(row["config_hash"]),
            "id": ids[row["config_hash"]],
            "name": label(by_hash[row["config_hash"]].label),
            "baseline": by_hash[row["config_hash"]].baseline,
            "front": bool(row["on_front"]),
            "chance": finite(row["front_probability"]),
            "violates": printable(row.get("violates") or ""),
            "n": int(row["n"]),
            "lost": ", ".join(f"{row[state]} {state}" for state in WITHOUT_VALUE if row[state]),
            "diff": _difference(base.choices if base else {}, by_hash[row["config_hash"]].choices),
            "look": _look(results, by_hash[row["config_hash"]]),
        }
        for row in plain
    ]


def short_ids(hashes: list[str]) -> dict[str, str]:
    """Return {hash: its beginning}, as short as tells all apart, and no shorter than SHORT signs."""
    length = SHORT
    while len({h[:length] for h in hashes}) < len(set(hashes)):
        length += 1
    return {h: h[:length] for h in hashes}


def finite(value: Any) -> float | None:
    """Return a number that JSON knows; None where it is missing."""
    return float(value) if value is not None and math.isfinite(value) else None


def _values(results: StudyAnalysis, goal: Objective) -> dict[str, Interval]:
    """Return {config_hash: mean over complete seeds and its 95 % interval}; of costs the mean alone."""
    found: dict[str, Interval] = {}
    for name, (mean, half, _) in intervals(results, goal).items():
        known = math.isfinite(half) and not goal.is_cost
        found[name] = (mean, mean - half, mean + half) if known else (mean, None, None)
    return found


def _difference(base: Mapping[str, Any], own: Mapping[str, Any]) -> list[list[str]]:
    """Return the choices that differ, [path, the baseline's, the candidate's]; '–' where there is no such choice."""
    paths = dict.fromkeys([*base, *own])
    pairs = [(path, _shown(base, path), _shown(own, path)) for path in paths]
    return [[printable(path), before, after] for path, before, after in pairs if before != after]


def _shown(choices: Mapping[str, Any], path: str) -> str:
    return label(show(choices[path])) if path in choices else "–"


def _look(results: StudyAnalysis, candidate: Any) -> dict[str, Any]:
    """Return a candidate's colour ('' for the baseline, which has the page's ink) and its place among the looks."""
    look = style.look(candidate)
    return {"colour": "" if candidate.baseline else look.colour, "index": candidate.index}
