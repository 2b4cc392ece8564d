"""norm `time_dependent`: layer or RMS norm whose scale and shift depend on the noise level alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Choice, Norm

if TYPE_CHECKING:
    from torch import nn


class TimeDependent(Norm):
    """Time-dependent layer norm, TD-LN (Liu et al. 2024, "Alleviating Distortion in Image Generation", DiMR, eq. 2-4).

    γ(t) = s·p₁ + (1 − s)·p₂ with s = sigmoid(w·t + b), each a learned vector, and so the shift β(t): 8 vectors a norm,
    where adaptive norms regress theirs from an embedding. t is asinh of the noise label. It has a scale where the norm
    has one of its own, so nothing else may modulate it: the class has to enter as a token, for example. Without, it is
    the plain norm.
    """

    name = "time_dependent"
    reads_noise = True

    statistics: Annotated[Literal["layer", "rms"], Choice("layer", "rms")] = "layer"  # rms: no mean, and no shift
    eps: Annotated[float, Field(gt=0, le=0.1)] = 1e-6  # ε

    def build(self, width: int, affine: bool) -> nn.Module:
        """`TimeDependentNorm` of `ablate_zoo.layers.norms`."""
        from ablate_zoo.layers.norms import TimeDependentNorm

        return TimeDependentNorm(width, affine, self.eps, centred=self.statistics == "layer")
