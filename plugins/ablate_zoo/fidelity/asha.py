"""fidelity `asha`: asynchronous successive halving by one objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ablate.api import Rung
from ablate_zoo.fidelity._halving import Halving


class Asha(Halving):
    """Asynchronous successive halving (ASHA, Li et al. 2020), by the study's first measured objective alone.

    Cost does not count: where cheap candidates learn less, they are stopped. For a front take `pareto_asha`.
    """

    name = "asha"

    def groups(self, rung: Rung) -> list[NDArray[np.int64]]:
        """Return all in one group, by the first measured objective; equals by number."""
        return [np.argsort(rung.quality[:, 0], kind="stable")]
