"""probe `weight_norm`: whether weights grow without end."""

from __future__ import annotations

from ablate.api import Probe, StepObserver


class WeightNorm(Probe):
    """L2 norm of each block's trained parameters, before a step of training.

    Blocks and x are those of `activation_variance`. Its summary is the largest norm in the last step.
    """

    name = "weight_norm"

    def build(self) -> StepObserver:
        """See `ablate_zoo.probe._step`."""
        from ablate_zoo.probe import _step

        return _step.BlockNorms(_step.weights)
