"""coupling `immiscible`: immiscible diffusion, each image is noised with noise that lies near it (Li et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate_zoo.coupling._assignment import Assigned

if TYPE_CHECKING:
    from torch import Tensor


class Immiscible(Assigned):
    """Immiscible diffusion: the assignment of least summed distance |x0 − ε| within the batch.

    Li et al. 2024, "Immiscible Diffusion: Accelerating Diffusion Training with Noise Assignment", Alg. 1, there of
    distances in half precision, here in fp32.
    """

    name = "immiscible"

    def cost(self, squared: Tensor) -> Tensor:
        """The distance."""
        return squared.sqrt()
