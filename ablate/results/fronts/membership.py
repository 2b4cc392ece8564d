"""How probably each candidate is on the front, if one knew its expected values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.results.fronts.drawn_fronts import DrawnFronts, draw_fronts
from ablate.results.fronts.spread import NoSpreadError
from ablate.results.searches.confirmed import spread_elsewhere

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis


def drawn_fronts(
    results: StudyAnalysis, objectives: Sequence[str] | None = None, where: Mapping[str, Any] | None = None
) -> tuple[pd.DataFrame, DrawnFronts]:
    """Return the front's table of the candidates with a value, and draws of those of them that may stand on it.

    Raises NoSpreadError where the spread over seeds is not known, and InputError as `front` does.
    """
    table = results.front(objectives, where)
    goals = _goals(results, table)
    table = table[_sound(table)].reset_index(drop=True)

    def compute() -> DrawnFronts:
        names, may = list(table["config_hash"]), contends(table).to_numpy()
        elsewhere = spread_elsewhere(results, goals)
        drawn = draw_fronts(results.trials, results.metrics, names, goals, where, elsewhere)
        return drawn.of(may[drawn.rows])

    drawn: DrawnFronts = results.remember(("drawn fronts", [goal.source for goal in goals], dict(where or {})), compute)
    return table, drawn


def membership(
    results: StudyAnalysis, objectives: Sequence[str] | None = None, where: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Compute the probability that each candidate is on the front: `StudyFindings.membership`."""
    table = results.front(objectives, where)
    keep = ["candidate", "config_hash", *(c for c in table.columns if c.startswith("c.")), "n", "on_front"]
    told = table[keep].copy()
    chances: dict[str, float] = {}
    note = ""
    try:
        contenders, drawn = drawn_fronts(results, objectives, where)
    except NoSpreadError as error:
        note = error.message
    else:
        shares = drawn.on_front().mean(axis=0)
        names = contenders["config_hash"].iloc[drawn.rows]
        chances = dict(zip(names.astype(str), shares.tolist(), strict=True))
        barred = table.loc[(table["n"] > 0) & ~contends(table), "config_hash"].astype(str)
        chances |= dict.fromkeys(barred, 0.0)  # by the front's own rules
    told["probability"] = [chances.get(str(name), math.nan) for name in table["config_hash"]]
    order = np.lexsort([~told["on_front"].to_numpy(dtype=bool), -told["probability"].fillna(-1).to_numpy()])
    told = told.iloc[order].reset_index(drop=True)
    told.attrs = {"objectives": table.attrs["objectives"], "note": note}
    return told


def contends(table: pd.DataFrame) -> pd.Series[bool]:
    """Return which candidates of a front's table may stand on it: with a value, none diverged, no constraint broken."""
    may = _sound(table)
    return may & (table["violates"] == "") if "violates" in table else may


def _sound(table: pd.DataFrame) -> pd.Series[bool]:
    """Return which candidates have a value in each objective, and lost no seed, unless all lost some."""
    finite = np.isfinite(table[table.attrs["objectives"]].to_numpy(dtype=float)).all(axis=1)
    may: pd.Series[bool] = (table["n"] > 0) & finite
    if (may & (table["diverged"] == 0)).any():
        may &= table["diverged"] == 0
    return may


def _goals(results: StudyAnalysis, table: pd.DataFrame) -> list[Objective]:
    return [results.objective(column) for column in table.attrs["objectives"]]
