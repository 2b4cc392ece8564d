"""proxy `synflow`: how much flows through the network from end to end."""

from __future__ import annotations

from typing import Literal

from ablate.api import Proxy, Untrained


class Synflow(Proxy):
    """ln Σ |θ · ∂R/∂θ|, with |θ| for all parameters, and R the sum of what inputs of ones give (Tanaka et al. 2020).

    It needs no data. Norms and attention are as they are, so that R is not the product of paths that it is in a network
    of linear layers; and what is initialised as zero (the last layer, the gates of adaLN-Zero) lets nothing through.
    """

    name = "synflow"

    zeros: Literal["fill", "keep"] = "fill"  # fill: weights that are all zero are drawn as others are, for this number

    def measure(self, untrained: Untrained) -> float:
        """-inf where nothing flows."""
        import math

        import torch

        from ablate_zoo.proxy._weights import fill_zeros

        if self.zeros == "fill":
            fill_zeros(untrained.network)
        parameters = [p for p in untrained.network.parameters() if p.requires_grad]
        with torch.no_grad():
            for parameter in parameters:
                parameter.abs_()
        untrained.network.eval()
        untrained.predict(torch.ones_like(untrained.x)).sum().backward()
        flows = [(p.detach() * p.grad).abs().double().sum() for p in parameters if p.grad is not None]
        total = float(torch.stack(flows).sum())
        return math.log(total) if total > 0 else -math.inf
