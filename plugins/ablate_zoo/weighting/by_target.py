"""weighting `by_target`: the error of another target counts evenly, such as x-prediction with the v-loss (JiT)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from ablate.api import Level, Target, Weighting, slot

if TYPE_CHECKING:
    from torch import Tensor


class ByTarget(Weighting):
    """w = ((α·v − σ·u)/σ)² on the x0-error, for y = u·x0 + v·ε of `target`: the squared error of y, all levels alike.

    So the network may predict one thing and be judged by another. With target `x0` and schedule `rectified_flow` it is
    x-prediction with the v-loss, w = 1/σ² (Li & He 2025, "Back to Basics: Let Denoising Generative Models Denoise",
    table 1 and eq. 6), and `most` is their bound on 1/σ, squared: 1/0.05². With the same target in both places it is
    `{type: uniform, apply: native}`, but for that bound.
    """

    name = "by_target"

    target: Target = slot("flow")
    most: Annotated[float, Field(gt=0, le=1e12)] = 400.0  # the largest w: it grows without bound towards a clean image

    @model_validator(mode="after")
    def _on_x0(self) -> ByTarget:
        if self.apply != "x0":
            raise ValueError("it converts an error to that of x0 itself: leave 'apply' out")
        return self

    def weight(self, level: Level, sigma_data: float) -> Tensor:
        """The square of the error of y that an error of 1 in x0 makes."""
        u, v = self.target.coefficients(level)
        return ((level.alpha * v - level.sigma * u) / level.sigma).square().clamp(max=self.most)
