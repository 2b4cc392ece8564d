"""loss `mse`: the weighted mean squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Loss, Noised, Process

if TYPE_CHECKING:
    from torch import Tensor


class Mse(Loss):
    """Mean squared error, w · mean((ŷ − y)²) over an image, w the weighting's factor for the target's own error."""

    name = "mse"
    default = True

    def provides(self) -> frozenset[str]:
        """A mean over numbers."""
        return frozenset({"elementwise"})

    def compute(self, prediction: Tensor, batch: Noised, process: Process) -> Tensor:
        """The loss of each image, (B,) fp32; a learned variance plays no part."""
        mean = prediction[:, : batch.x0.shape[1]].float()
        target = process.target.value(batch.x0, batch.noise, batch.level).float()
        error = (mean - target).square().flatten(1).mean(1)  # (B,)
        return error * process.target_weight(batch.level).to(error)
