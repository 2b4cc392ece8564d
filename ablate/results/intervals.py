"""Means of candidates over their complete seeds with 95 % intervals, one deviation for all candidates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ablate.candidates.objectives import STATIC, Objective
from ablate.results.measurements import values
from ablate.results.quality_curves import interval_half_widths

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis


class Mean(NamedTuple):
    """A mean over `n` seeds, and half the width of its 95 % interval; NaN where the spread is not known."""

    mean: float
    half: float
    n: int


def intervals(results: StudyAnalysis, goal: Objective) -> dict[str, Mean]:
    """Return {config_hash: mean and interval} of a metric or a cost.

    Student's t, with one deviation for all candidates: two or three seeds alone say little about theirs. What is known
    before training has no interval. Raises InputError where values of the metric may not be compared.
    """
    frame, _ = values(results.trials, results.metrics, [goal])
    known = frame[np.isfinite(frame[goal.column].astype(float))]
    if goal.column not in STATIC:
        known = known[known["state"] == "complete"]
    groups = {str(h): own.to_numpy(dtype=float) for h, own in known.groupby("config_hash", observed=True)[goal.column]}
    half_width = interval_half_widths(groups.values())
    certain = goal.column in STATIC
    return {
        name: Mean(float(own.mean()), math.nan if certain else half_width(len(own)), len(own))
        for name, own in groups.items()
    }
