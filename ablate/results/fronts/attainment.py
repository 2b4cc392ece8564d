"""Attainment surfaces: what the front reaches with a given probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.errors import InputError
from ablate.results.fronts.membership import drawn_fronts

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

LEVELS = (2.5, 50.0, 97.5)  # %
DRAWN = 500  # fronts of which surfaces are made
MOST = 3  # objectives: for more moocore knows no surface


def attainment(
    results: StudyAnalysis,
    objectives: Sequence[str] | None = None,
    levels: Sequence[float] = LEVELS,
    where: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Compute attainment surfaces of the front: `StudyFindings.attainment`."""
    if not levels or not all(0 < level <= 100 for level in levels):
        raise InputError(f"expected levels above 0 and up to 100 %, not {list(levels)!r}", "levels")
    table, drawn = drawn_fronts(results, objectives, where)
    columns = table.attrs["objectives"]
    if not 2 <= len(columns) <= MOST:
        raise InputError(f"attainment surfaces are of two or three objectives, not of {len(columns)}", "objectives")
    fronts = list(drawn.fronts(DRAWN))
    if not len(drawn.rows):
        raise InputError("no candidate has a value in every objective, so there is no front")
    sets = np.repeat(np.arange(len(fronts)), [len(points) for points in fronts])
    surface = surfaces(np.concatenate(fronts), sets, list(levels))
    signs = np.array([results.objective(column).sign for column in columns])
    found = pd.DataFrame(surface[:, :-1] * signs, columns=columns)
    found.insert(0, "level", surface[:, -1])
    found = found.sort_values(["level", columns[-1]], kind="stable").reset_index(drop=True)
    found.attrs["objectives"] = columns
    return found


def surfaces(points: np.ndarray, sets: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Compute the surfaces that these percentages of the sets attain: corners of 2 or 3 objectives, and the level.

    moocore's algorithm for three objectives does not end where a value of the third repeats, as costs do from draw to
    draw. So it is given ranks in which no two are equal. That is exact: each corner of the surface is the limit of one
    where ties are broken, and limits that are no corners are dominated by one.
    """
    import moocore

    if points.shape[1] == 2:
        return np.asarray(moocore.eaf(points, sets, percentiles=list(levels)))
    order = points.argsort(axis=0, kind="stable")
    ranks = order.argsort(axis=0).astype(float)
    found = moocore.eaf(ranks, sets, percentiles=list(levels))
    values = np.take_along_axis(np.take_along_axis(points, order, axis=0), found[:, :-1].astype(int), axis=0)
    corners = []
    for level in np.unique(found[:, -1]):
        at = np.unique(values[found[:, -1] == level], axis=0)
        at = at[moocore.is_nondominated(at)]
        corners.append(np.column_stack([at, np.full(len(at), level)]))
    return np.concatenate(corners)
