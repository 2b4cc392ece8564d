"""fidelity `pareto_asha`: asynchronous successive halving for the front of quality and cost."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.api import Added, Rung, When
from ablate_zoo.fidelity._halving import Halving
from ablate_zoo.layers.contribution import by_contribution


class ParetoAsha(Halving):
    """Asynchronous successive halving for several objectives, of which costs (Gflops) are known beforehand.

    With plain non-dominated sorting the cheapest candidate would never be stopped, however bad it is, since nothing
    that is better is as cheap. So the best 1/factor of a rung go on by one of two rules:

    contribution: front after front (non-dominated sorting, Deb et al. 2002), and within a front by what each adds to
    its hypervolume, up to a tenth of the range beyond the worst; on log axes where all values are positive. On both
    halves of the first recorded table it finds the front with less training than bands (docs/decisions/0039).

    bands: candidates are divided by cost into `bands` of equal size, and in each the best go on; several measured
    objectives are ranked by non-dominated sorting, equals by the sum of their ranks.
    """

    name = "pareto_asha"

    by: Annotated[Literal["contribution", "bands"], Added(before="bands")] = "contribution"
    bands: Annotated[int, Field(ge=1, le=100), When("by", ("bands",))] = 3  # of cost, with as many candidates each

    def groups(self, rung: Rung) -> list[NDArray[np.int64]]:
        """Return all as one group by what they contribute, or the bands from the cheapest on, each by quality."""
        if self.by == "contribution":
            return [by_contribution(np.hstack([rung.quality, rung.cost]))]
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
