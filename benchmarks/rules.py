"""Rules of successive halving to compare `pareto_asha` with, as fidelities of a third party; benchmarks/searches.py."""

from __future__ import annotations

import numpy as np
from moocore import pareto_rank
from numpy.typing import NDArray

from ablate.api import Rung
from ablate_zoo.fidelity._halving import Halving


class WeightedSum(Halving):
    """Plain ASHA on one number: the mean of quality and cost, each scaled to [0, 1] over those at the rung."""

    name = "weighted_sum"

    def groups(self, rung: Rung) -> list[NDArray[np.int64]]:
        """Return all in one group, by the sum; equals by number."""
        return [np.argsort(_scaled(rung).sum(axis=1), kind="stable")]


class MoAsha(Halving):
    """MO-ASHA (Schmucker et al. 2021): by non-dominated sorting, within a front by its epsilon-net.

    The rule that Syne Tune has under this name, here with pauses: nobody is given up for good.
    """

    name = "mo_asha"

    def groups(self, rung: Rung) -> list[NDArray[np.int64]]:
        """Return all in one group: front after front, each such that those chosen first lie far apart."""
        points = _scaled(rung)
        if not len(points):
            return [np.empty(0, dtype=np.int64)]
        ranks = pareto_rank(points)
        order = [i for rank in np.unique(ranks) for i in _net(points, np.flatnonzero(ranks == rank))]
        return [np.array(order, dtype=np.int64)]


def _scaled(rung: Rung) -> NDArray[np.float64]:
    """Return (n, m) quality and cost, each from 0 to 1."""
    points = np.hstack([rung.quality, rung.cost])
    if not len(points):
        return points
    span = np.ptp(points, axis=0)
    return np.asarray((points - points.min(axis=0)) / np.where(span > 0, span, 1.0))


def _net(points: NDArray[np.float64], members: NDArray[np.int64]) -> list[int]:
    """Order members of a front such that each is as far as can be from those before it; the first has least quality."""
    order = [int(members[np.argmin(points[members, 0])])]
    while len(order) < len(members):
        left = [int(i) for i in members if i not in order]
        far = [np.linalg.norm(points[order] - points[i], axis=1).min() for i in left]
        order.append(left[int(np.argmax(far))])
    return order
