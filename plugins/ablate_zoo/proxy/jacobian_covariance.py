"""proxy `jacobian_covariance`: how differently a network treats different images."""

from __future__ import annotations

from typing import Literal

from ablate.api import Proxy, Untrained

EPSILON = 1e-5


class JacobianCovariance(Proxy):
    """-Σ (ln(λ + ε) + 1/(λ + ε)) over the eigenvalues of the correlations of the images' Jacobians, ε = 1e-5.

    An image's Jacobian is the gradient of the sum of its outputs with respect to its pixels; the less those of a batch
    resemble one another, the larger the number (Mellor et al. 2021, the first version, "jacob_cov").
    """

    name = "jacobian_covariance"

    zeros: Literal["fill", "keep"] = "fill"  # fill: weights that are all zero are drawn as others are, for this number

    def measure(self, untrained: Untrained) -> float:
        """NaN where a Jacobian has no direction, as where the last layer is zero."""
        import torch

        from ablate_zoo.proxy._weights import fill_zeros

        if self.zeros == "fill":
            fill_zeros(untrained.network)
        untrained.network.eval()
        x = untrained.x.detach().clone().requires_grad_()
        (jacobian,) = torch.autograd.grad(untrained.predict(x).sum(), x)
        rows = jacobian.flatten(1).double()  # (B, C·H·W)
        centred = rows - rows.mean(dim=1, keepdim=True)
        lengths = centred.norm(dim=1, keepdim=True)
        if not bool((lengths > 0).all()):
            return float("nan")
        directions = centred / lengths
        values = torch.linalg.eigvalsh(directions @ directions.T).clamp(min=0) + EPSILON
        return -float((values.log() + 1 / values).sum())
