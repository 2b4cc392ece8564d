"""Means of the levels of two factors together, as if every combination of the others stood beside each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pandas as pd

from ablate.errors import InputError
from ablate.results.effects import ALPHA
from ablate.results.factors.main_effects import factorial

if TYPE_CHECKING:
    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis

COLUMNS = ("one", "other", "mean", "low", "high")


def cell_means(results: StudyAnalysis, objective: Objective, one: str, other: str) -> pd.DataFrame:
    """Compute the least-squares means of two factors' levels together, with their 95 % intervals.

    Columns: one and other (their levels), mean, low and high; a row each combination that the trials tell. Where all
    candidates have the same seeds, what a seed does to all of them is no part of the interval. Raises InputError where
    one of the two is no factor, and as `main_effects` does.
    """
    found, _ = factorial(results.trials, results.metrics, objective, results.baseline_labels, [(one, other)])
    from scipy.special import stdtrit

    rows = []
    levels = found.model.levels
    for i, j in itertools.product(range(len(levels[one])), range(len(levels[other]))):
        weights = found.model.at({one: i, other: j})
        if not found.tells(weights)[0]:
            continue
        mean, error = found.fit.estimate(weights)
        half = float(stdtrit(found.fit.degrees, 1 - ALPHA / 2)) * error if found.fit.degrees else float("nan")
        rows.append((levels[one][i], levels[other][j], mean, mean - half, mean + half))
    if not rows:
        raise InputError(f"these candidates tell no mean of {one} and {other} together", "main_effects")
    return pd.DataFrame(rows, columns=list(COLUMNS))
