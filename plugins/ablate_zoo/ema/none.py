"""ema `none`: no exponential moving average, samples are made of the weights as they are."""

from __future__ import annotations

from ablate.api import Average, Ema, Weights


class NoEma(Ema):
    """No moving average of the weights."""

    name = "none"

    def build(self, parameters: Weights) -> Average:
        """A view of the parameters."""
        from ablate_zoo.ema._averages import LiveWeights

        return LiveWeights(parameters)
