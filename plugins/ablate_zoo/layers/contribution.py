"""The order of candidates with several objectives: front after front, within a front by what each adds to it.

It imports no torch: searches and fidelities order by it too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BEYOND = 0.1  # of the range of each axis, by which the reference point of a hypervolume lies beyond the worst


def by_contribution(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows of (n, m) minimised values, the one that adds most to the hypervolume of its front first.

    Front after front (non-dominated sorting, Deb et al. 2002), with axes that are log where all values are positive.
    """
    from moocore import hv_contributions, pareto_rank

    if points.shape[1] == 1:
        return np.argsort(points[:, 0], kind="stable")
    if len(points) and (points > 0).all():
        points = np.log(points)
    left, order = np.arange(len(points)), list[int]()
    while len(left):
        span = np.ptp(points, axis=0)
        reference = points.max(axis=0) + BEYOND * np.where(span > 0, span, 1.0)
        front = left[pareto_rank(points[left]) == 0]
        gains = hv_contributions(points[front], ref=reference)
        order += front[np.argsort(-gains, kind="stable")].tolist()
        left = np.setdiff1d(left, front)
    return np.array(order, dtype=np.int64)
