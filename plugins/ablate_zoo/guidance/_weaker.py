"""Guidance away from a weaker network: extrapolation from its image through the network's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Denoised, Denoisers, Guide, Labels, Level, Range, WeakerGuidance
from ablate_zoo.guidance._interval import IntervalGuidance

if TYPE_CHECKING:
    from torch import Tensor


class Extrapolated(IntervalGuidance, WeakerGuidance):
    """D = D_weak + scale·(D − D_weak), of the denoised images of both networks at the same label.

    `scale` 1 is the network by itself. Outside of `sigma_low` to `sigma_high`, in σ/α, the weaker network is not asked.
    """

    scale: Annotated[float, Field(ge=0, le=100), Range(1.0, 4.0)] = 2.0

    def drop_rate(self) -> float:
        """Zero: both networks are asked for the label."""
        return 0.0

    def begin(self) -> Guide:
        """It remembers nothing."""
        return self._guide

    def _guide(self, ask: Denoisers, x: Tensor, labels: Labels, null: int, level: Level) -> Denoised:
        """Image and noise, each on the line through the two."""
        own = ask.own(x, labels)
        if ask.weaker is None:
            raise ValueError(f"guidance {self.name!r} needs its weaker network")
        if self.scale == 1 or not self.guides(level):
            return own
        weak = ask.weaker(x, labels)
        return own._replace(
            x0=weak.x0 + self.scale * (own.x0 - weak.x0),
            noise=weak.noise + self.scale * (own.noise - weak.noise),
        )

    def settings(self) -> list[str]:
        """Format what `describe` tells beside the scale and the interval."""
        return []

    def describe(self) -> str:
        """Such as `autoguidance(2, at=0.25)`."""
        return f"{self.name}({', '.join([f'{self.scale:g}', *self.settings(), *self.interval()])})"
