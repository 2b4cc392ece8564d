"""guidance `autoguidance`: away from a weaker self, an earlier snapshot or a smaller sibling (Karras et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ablate.api import (
    Added,
    Backbone,
    Course,
    Ema,
    InputSpec,
    Kept,
    Range,
    Sibling,
    Weights,
    earlier_weights,
    narrower,
)
from ablate_zoo.guidance._weaker import Extrapolated

if TYPE_CHECKING:
    from torch import nn


class Autoguidance(Extrapolated):
    """D = D_weak + scale·(D − D_weak), D_weak of the same network less trained, or smaller too (Karras et al. 2024).

    "Guiding a Diffusion Model with a Bad Version of Itself". Without `width`, the weaker network is the snapshot of the
    weights nearest to `at` of the training, as `ema: post_hoc` and `ema: checkpoints` keep them: the shorter of the two
    averages then, or the weights of then. Nothing more is trained. With `width`, a sibling of that share of the
    network's width is trained beside it on the same batches, until `at` of the training, and guides with its running
    average. Neither needs labels or a null class, and the network's own training is the same with it and without.
    """

    name = "autoguidance"

    at: Annotated[float, Field(gt=0, le=1), Range(0.05, 0.5)] = (
        0.25  # share of the training that the weaker one has had
    )
    width: Annotated[float | None, Field(gt=0, lt=1), Added(before=None), Range(0.25, 0.75)] = (
        None  # of a sibling, over the network's own; None: a snapshot of the network itself
    )

    @model_validator(mode="after")
    def _snapshot_is_earlier(self) -> Self:
        if self.width is None and self.at == 1:
            raise ValueError("at: 1 is the network itself; say an earlier share, or the width of a sibling")
        return self

    def requires(self) -> Mapping[str, str]:
        """An average that keeps snapshots, where one of them guides."""
        if self.width is not None:
            return {}
        why = "it is guided by an earlier state of the weights; take ema 'post_hoc' or 'checkpoints', or give a 'width'"
        return {"snapshots": why}

    def idle(self, course: Course) -> Iterator[str]:
        """A sibling that takes one step."""
        if self.width is not None and course.images is not None and self.at * course.images <= course.batch:
            yield f"at: {self.at:g} of {course.images:,} images: its sibling takes no more than one step"

    def same_until(self, images: int) -> float:
        """Until the sibling stops, at a share of the training."""
        return math.inf if self.width is None else self.at * images

    def sibling(self, backbone: Backbone, setting: InputSpec) -> Sibling | None:
        """The narrower network, where a width is given."""
        return None if self.width is None else Sibling(narrower(backbone, self.width, setting), self.at)

    def weaken(self, network: nn.Module) -> nn.Module:
        """The network as it is."""
        return network

    def weights(self, ema: Ema, snapshots: Kept, images: int) -> Weights:
        """Those of the snapshot."""
        return earlier_weights(snapshots, ema, self.at, images)

    def settings(self) -> list[str]:
        """The share of the training, and of the width."""
        return [f"at={self.at:g}", *([] if self.width is None else [f"width={self.width:g}"])]
