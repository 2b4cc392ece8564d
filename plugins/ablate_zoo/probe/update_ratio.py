"""probe `update_ratio`: how far a step goes, measured by what it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.api import Probe, StepObserver
from ablate_zoo.probe._largest import largest


class UpdateRatio(Probe):
    """|Δw| / |w| of one step of training, in L2 norms over each block's trained parameters.

    Blocks and x are those of `activation_variance`. While it observes a step it holds a copy of the weights.
    Its summary is the largest ratio of any observation.
    """

    name = "update_ratio"

    def build(self) -> StepObserver:
        """See `ablate_zoo.probe._step`."""
        from ablate_zoo.probe import _step

        return _step.UpdateRatio()

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """The largest of all."""
        return largest(rows)
