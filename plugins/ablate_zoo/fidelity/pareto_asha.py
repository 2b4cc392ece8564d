"""fidelity `pareto_asha`: asynchronous successive halving for the front of quality and cost."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.api import Rung
from ablate_zoo.fidelity._halving import Halving


class ParetoAsha(Halving):
    """Asynchronous successive halving in bands of cost: a candidate is compared with those that cost about the same.

    What a candidate costs (Gflops) is known beforehand and does not change. With plain non-dominated sorting the
    cheapest candidate would never be stopped, however bad it is, since nothing that is better is as cheap. So the
    candidates at a rung are divided by cost into `bands` of equal size, and in each the best 1/factor go on. A study
    without an objective of cost has one band. Several measured objectives are ranked by non-dominated sorting (Deb et
    al. 2002), equals by the sum of their ranks.
    """

    name = "pareto_asha"

    bands: Annotated[int, Field(ge=1, le=100)] = 3  # of cost, with as many candidates each

    def groups(self, rung: Rung) -> list[NDArray[np.int64]]:
        """Return the bands from the cheapest on, each by quality."""
        order = _order(rung.quality)
        if not rung.cost.shape[1]:
            return [order]
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        by_cost = np.lexsort([place, rung.cost[:, 0]])
        bands = max(1, min(self.bands, int(len(order) / self.factor)))  # a band of fewer could promote nobody
        return [band[np.argsort(place[band])] for band in np.array_split(by_cost, bands)]


def _order(quality: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows, the best first."""
    if quality.shape[1] == 1:
        return np.argsort(quality[:, 0], kind="stable")
    from moocore import pareto_rank

    ranks = np.argsort(np.argsort(quality, axis=0, kind="stable"), axis=0, kind="stable")
    return np.lexsort([ranks.sum(axis=1), pareto_rank(quality)])
