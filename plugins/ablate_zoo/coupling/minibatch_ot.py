"""coupling `minibatch_ot`: minibatch optimal transport between images and noise (Tong et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate_zoo.coupling._assignment import Assigned

if TYPE_CHECKING:
    from torch import Tensor


class MinibatchOt(Assigned):
    """Minibatch optimal transport, OT-CFM: the assignment of least summed squared distance |x0 − ε|².

    Tong et al. 2024, "Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport",
    section 4; Pooladian et al. 2023, "Multisample Flow Matching". Of two uniform measures of one size the optimal plan
    is a permutation, so there is nothing to draw from it. It straightens the paths of a flow.
    """

    name = "minibatch_ot"

    def cost(self, squared: Tensor) -> Tensor:
        """The squared distance."""
        return squared
