"""constant: an exponential moving average of one half-life, counted in images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Average, Ema, Range, Weights

if TYPE_CHECKING:
    from torch import Tensor


class HalfLifeAverage(Average):
    """ā ← d·ā + (1 − d)·θ after every step, in place."""

    def __init__(self, parameters: Weights, ema: ConstantEma) -> None:
        self._ema = ema
        self._label = f"constant({ema.halflife:.15g})"
        self._parameters = parameters
        self._average = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, images: int, batch: int) -> None:
        """One step of the average, as a few kernels over all parameters."""
        import torch

        with torch.no_grad():
            current = [self._parameters[name] for name in self._average]
            torch._foreach_lerp_(list(self._average.values()), current, 1 - self._ema.decay(images, batch))

    def weights(self) -> dict[str, Weights]:
        """The average, under its half-life's label; the tensors change with the next update."""
        return {self._label: self._average}

    def state(self) -> dict[str, Tensor]:
        """The average, by parameter name."""
        return dict(self._average)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where the state is of another network."""
        if state.keys() != self._average.keys():
            raise KeyError(f"the average is of other parameters: {sorted(state.keys() ^ self._average.keys())[:4]}")
        for name, average in self._average.items():
            average.copy_(state[name])


class ConstantEma(Ema):
    """Decay 0.5^(batch / halflife) a step, as in EDM (Karras et al. 2022, appendix F.2).

    Early in training the half-life is at most `rampup` of the images seen, so that the initial
    weights are forgotten and a short run is not dominated by them; 0 switches that off. Parameters
    are averaged, buffers are not.
    """

    name = "constant"
    default = True

    halflife: Annotated[float, Field(gt=0, le=1e12), Range(1e3, 1e7, log=True)] = 500_000.0  # images
    rampup: Annotated[float, Field(ge=0, le=1), Range(0.01, 0.2, log=True)] = 0.05  # halflife / images seen, at most

    def decay(self, images: int, batch: int) -> float:
        """The share of the old average that stays, in [0, 1), after `images` seen with this step's `batch`."""
        halflife = min(self.halflife, self.rampup * images) if self.rampup else self.halflife
        return 0.5 ** (batch / halflife)

    def build(self, parameters: Weights) -> Average:
        """An average that starts at a copy of the parameters."""
        return HalfLifeAverage(parameters, self)
