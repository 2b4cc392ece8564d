"""residual `fixed`: the branch is multiplied by one number."""

from __future__ import annotations

from ablate.api import Residual


class Fixed(Residual):
    """Residual scaling: x + gate·β·branch, β = `residual_beta` of the network."""

    name = "fixed"
    reads_beta = True

    def scale(self, width: int, beta: float) -> float:
        """β itself."""
        return beta
