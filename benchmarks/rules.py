"""Rules of successive halving to compare `pareto_asha` with, as fidelities of a third party; benchmarks/searches.py."""

from __future__ import annotations

import numpy as np
from moocore import hv_contributions, pareto_rank
from numpy.typing import NDArray

from ablate.api import Rung
from ablate_zoo.fidelity._halving import Halving

BEYOND = 0.1  # of the range of each axis, by which the reference point of a hypervolume lies beyond the worst


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


class Contribution(Halving):
    """By what each adds to the hypervolume of the rung's front (log axes), then of the front below, and so on."""

    name = "contribution"

    def groups(self, rung: Rung) -> list[NDArray[np.int64]]:
        """Return all in one group: front after front, each from the largest contribution on."""
        points = np.log(np.hstack([rung.quality, rung.cost])) if len(rung.numbers) else np.empty((0, 2))
        left, order = np.arange(len(points)), list[int]()
        while len(left):
            span = np.ptp(points, axis=0)
            reference = points.max(axis=0) + BEYOND * np.where(span > 0, span, 1.0)
            front = left[pareto_rank(points[left]) == 0]
            gains = hv_contributions(points[front], ref=reference)
            order += front[np.argsort(-gains, kind="stable")].tolist()
            left = np.setdiff1d(left, front)
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
