"""proxy `initial_gradient`: how large the gradient is at initialisation."""

from __future__ import annotations

from ablate.api import Proxy, Untrained


class InitialGradient(Proxy):
    """L2 norm of the gradient of the first batch's loss over all parameters (Abdelfattah et al. 2021, "grad_norm")."""

    name = "initial_gradient"

    def measure(self, untrained: Untrained) -> float:
        """One forward and one backward pass."""
        from ablate_zoo.layers.gradients import gradients, total_norm

        untrained.loss().backward()
        return float(total_norm(gradients(untrained.network.parameters())))
