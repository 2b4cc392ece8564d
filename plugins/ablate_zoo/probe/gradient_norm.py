"""probe `gradient_norm`: which blocks are trained hard, and which hardly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.api import Probe, StepObserver
from ablate_zoo.probe._largest import largest


class GradientNorm(Probe):
    """L2 norm of the gradient of each block's parameters in a step of training, unscaled, before clipping.

    Blocks and x are those of `activation_variance`. Its summary is the largest of any observation.
    """

    name = "gradient_norm"

    def build(self) -> StepObserver:
        """See `ablate_zoo.probe._step`."""
        from ablate_zoo.layers.gradients import gradients
        from ablate_zoo.probe import _step

        return _step.BlockNorms(gradients)

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """The largest of all."""
        return largest(rows)
