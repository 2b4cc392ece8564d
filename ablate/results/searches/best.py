"""The best candidates of a study, for a second look at them on fresh seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.errors import Argument, InputError
from ablate.results.fronts.membership import contends

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

SEEDS_APART = 100  # fresh seeds begin at a multiple of it


def best(results: StudyAnalysis, count: int) -> list[CandidateRow]:
    """Return at most `count` candidates beside the baseline: the best in the study's objectives, by their means.

    With one objective by its value; with several those on the front come first, then those that only the front beats,
    and so on (non-dominated sorting), in each part the best in the first objective first. Raises InputError where no
    other candidate than the baseline has a value. Candidates that inherited weights are among them: whoever confirms
    them trains them anew.
    """
    from moocore import pareto_rank

    table = results.front(starts="all")
    table = table[contends(table)].reset_index(drop=True)
    signs = np.array([results.objective(column).sign for column in table.attrs["objectives"]])
    points = table[table.attrs["objectives"]].to_numpy(dtype=float) * signs
    if len(points):
        table = table.iloc[np.lexsort([points[:, 0], pareto_rank(points)])]
    by_hash = {c.config_hash: c for c in results.candidates}
    chosen = [by_hash[str(name)] for name in table["config_hash"] if not by_hash[str(name)].baseline][:count]
    if not chosen:
        message = "no candidate beside the baseline has a value, so there is none to confirm"
        raise InputError(message, Argument("confirm"))
    return chosen


def assignment_of(candidate: CandidateRow) -> dict[str, Any]:
    """Return a candidate's choices as plain data: {path: label}, without those that it does not have."""
    plain = {
        path: label.item() if isinstance(label, np.generic) else label for path, label in candidate.choices.items()
    }
    return {path: label for path, label in plain.items() if not (isinstance(label, float) and math.isnan(label))}


def fresh_seed(results: StudyAnalysis) -> int:
    """Return the first of seeds that no trial of the study has: a multiple of 100 beyond all of them."""
    used: Any = results.trials["seed"].max()
    return SEEDS_APART * (1 + int(used) // SEEDS_APART) if used == used else SEEDS_APART
