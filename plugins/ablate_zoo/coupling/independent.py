"""coupling `independent`: each image gets its own noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Coupling

if TYPE_CHECKING:
    from torch import Tensor


class Independent(Coupling):
    """Noise and image are independent, as diffusion models assume."""

    name = "independent"
    default = True

    def order(self, x0: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor | None:
        """None: as they come."""
        return None
