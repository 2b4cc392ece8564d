"""objective `consistency`: consistency training, a level's image is to be that of the next cleaner level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ablate.api import Choice, Host, Objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


class Consistency(Objective):
    """Consistency training: the predicted image x̂0 at a level is to be that at the next cleaner level of the path.

    Song et al. 2023, "Consistency Models", Alg. 3: both levels are of one image and one noise, and the cleaner one has
    no gradient; at no noise the image itself stands there. Levels are drawn by the candidate's `levels` and rounded up
    to a grid of N even times, and N doubles from `first` to `last` over the training (Song & Dhariwal 2024, "Improved
    Techniques for Training Consistency Models", eq. 13). `huber` is the distance √(d² + c²) − c of that paper, with
    c = 0.00054·√(numbers of an image); `squared` is d² a number. `teacher: online` takes the weights as they are,
    `averaged` those of the candidate's `ema`. The image is read from the prediction as everywhere, so every target and
    preconditioning serves. Neither `loss` nor `weighting` is read. Sample with solver `consistency`.
    """

    name = "consistency"
    unread = ("loss", "weighting")

    first: Annotated[int, Field(ge=1, le=100_000), Choice(2, 10)] = 10  # times of the grid at the beginning
    last: Annotated[int, Field(ge=1, le=100_000), Choice(80, 320, 1280)] = 1280  # and at the end
    distance: Literal["huber", "squared"] = "huber"
    teacher: Literal["online", "averaged"] = "online"

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"the grid grows from first ({self.first}) to last ({self.last}), which is smaller")
        return self

    def same_until(self, images: int) -> float:
        """Until the grid doubles for the first time."""
        stages = (self.last // self.first).bit_length()
        return math.inf if stages == 1 else images / stages

    def provides(self) -> frozenset[str]:
        """Activations at a noised batch; a network that leads to the image at once."""
        return frozenset({"activations", "consistency"})

    def excludes(self) -> Mapping[str, str]:
        """A learned variance, which it would not train."""
        return {"variance_loss": "it trains no variance; use loss 'mse', and no learned_sigma"}

    def build(self, host: Host) -> nn.Module:
        """Nothing that is trained beside the network."""
        from ablate_zoo.objective._consistency import ConsistencyLoss

        huber = 0.00054 if self.distance == "huber" else None
        return ConsistencyLoss(self.first, self.last, huber, self.teacher == "averaged")
