"""How good the candidates of a study are, as one number each: by a metric, or by how near they are to the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ablate.errors import InputError
from ablate.results.fronts.membership import contends
from ablate.results.inherited import inherited

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

FRONT = "front"  # asked for in place of a metric


def ranked(results: StudyAnalysis, of: str | None) -> tuple[dict[str, float], str]:
    """Return {config_hash: goodness, smaller is better} of the candidates that have ended, and of what it is.

    of: a metric, or "front" for the rank among the study's objectives: 0 on the front, 1 on what only the front beats,
    and so on. Candidates of which a seed diverged are the worst of all, and those that break a constraint come before.
    Those that inherited weights are left out: their goodness is not of their choices alone.
    """
    from moocore import pareto_rank

    goal = None if of == FRONT else results.objective(of) if of else results.quality
    if of != FRONT and goal is None:
        raise InputError("no metric was measured; name a cost, such as 'gflops'", "metric")
    table = results.front(None if goal is None else [goal.column])
    table = table[(table["n"] > 0) | (table["diverged"] > 0)]
    table = table[~table["config_hash"].isin(list(inherited(results.trials)))].reset_index(drop=True)
    sound = contends(table).to_numpy(dtype=bool)
    columns = table.attrs["objectives"]
    signs = np.array([results.objective(column).sign for column in columns])
    points = table[columns].to_numpy(dtype=float) * signs
    goodness = np.full(len(table), np.inf)
    if sound.any():
        goodness[sound] = pareto_rank(points[sound]) if goal is None else points[sound, 0]
    worst = goodness[np.isfinite(goodness)].max(initial=0.0)
    lost = (table["diverged"] > 0).to_numpy(dtype=bool)
    goodness = np.where(np.isfinite(goodness), goodness, worst + 1.0 + lost)
    label = f"the front of {', '.join(columns)}" if goal is None else goal.column
    return dict(zip(table["config_hash"].astype(str), goodness.tolist(), strict=True)), label
