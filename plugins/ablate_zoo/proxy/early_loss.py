"""proxy `early_loss`: the training loss after some steps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ablate.api import Proxy, Untrained


class EarlyLoss(Proxy):
    """The mean training loss of the last tenth of the first `steps` steps.

    Not free, as they are training. Losses of several targets, weightings or objectives do not compare.
    """

    name = "early_loss"
    larger_is_better = False

    steps: Annotated[int, Field(ge=1, le=10**6)] = 100

    def measure(self, untrained: Untrained) -> float:
        """Train."""
        return untrained.train(self.steps)
