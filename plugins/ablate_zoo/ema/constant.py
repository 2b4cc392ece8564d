"""ema `constant`: exponential moving average (EMA) of the weights with one half-life, counted in images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from ablate.api import Average, Course, Ema, Range, Weights, When


class ConstantEma(Ema):
    """Exponential moving average of decay 0.5^(batch / halflife) a step, as in EDM (Karras et al. 2022, appendix F.2).

    `by: decay` says the same as most papers do: DiT's 0.9999 a step at a batch of 256 is decay 0.9999
    per 256 images, whatever the batch here. Early in training the half-life is at most `rampup` of the
    images seen, so that the initial weights are forgotten and a short run is not dominated by them; 0
    switches that off. Parameters are averaged, buffers are not.
    """

    name = "constant"
    default = True

    by: Literal["halflife", "decay"] = "halflife"
    halflife: Annotated[float, Field(gt=0, le=1e12), Range(1e3, 1e7, log=True), When("by", ("halflife",))] = (
        500_000.0  # images
    )
    decay: Annotated[float, Field(ge=0, lt=1), Range(0.99, 0.9999), When("by", ("decay",))] = 0.9999
    per: Annotated[int, Field(ge=1, le=1_000_000), When("by", ("decay",))] = 256  # images
    rampup: Annotated[float, Field(ge=0, le=1), Range(0.01, 0.2, log=True)] = 0.05  # halflife / images seen, at most

    def share(self, images: int, batch: int) -> float:
        """What stays of the old average, in [0, 1), after `images` seen with this step's `batch`."""
        plain = 0.5 ** (batch / self.halflife) if self.by == "halflife" else self.decay ** (batch / self.per)
        return min(plain, 0.5 ** (batch / (self.rampup * images))) if self.rampup else plain

    def idle(self, course: Course) -> Iterator[str]:
        """A half-life that was asked for, and is longer than the training."""
        set_fields = {"halflife", "decay", "per"} & self.model_fields_set
        if course.images is None or not (set_fields or not self.rampup):
            return
        half = self.halflife
        if self.by == "decay":
            half = self.per * math.log(0.5) / math.log(self.decay) if self.decay else 0.0
        if half >= course.images:
            effect = (
                f"never more than {self.rampup:g} of it (rampup) is reached"
                if self.rampup
                else "it stays near its start"
            )
            yield f"a half-life of {half:,.0f} images is longer than the training of {course.images:,}: {effect}"

    def provides(self) -> frozenset[str]:
        """Each number is averaged by itself."""
        return frozenset({"stackable"})

    def build(self, parameters: Weights) -> Average:
        """An average that starts at a copy of the parameters."""
        from ablate_zoo.ema._averages import RunningAverages

        decay = f"{self.halflife:.15g}" if self.by == "halflife" else f"{self.decay:.15g} per {self.per}"
        return RunningAverages(parameters, {f"constant({decay})": self.share})
