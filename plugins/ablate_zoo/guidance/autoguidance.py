"""guidance `autoguidance`: away from an earlier snapshot of the same network (Karras et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Ema, Kept, Range, Weights, earlier_weights
from ablate_zoo.guidance._weaker import Extrapolated

if TYPE_CHECKING:
    from torch import nn


class Autoguidance(Extrapolated):
    """D = D_weak + scale·(D − D_weak), D_weak of the same network less trained (Karras et al. 2024).

    "Guiding a Diffusion Model with a Bad Version of Itself". The weaker network is the snapshot of the weights nearest
    to `at` of the training, as `ema: post_hoc` and `ema: checkpoints` keep them: the shorter of the two averages then,
    or the weights of then. Nothing more is trained, and it needs no labels and no null class. Both networks are of one
    size, so that an evaluation costs twice as much.
    """

    name = "autoguidance"

    at: Annotated[float, Field(gt=0, lt=1), Range(0.05, 0.5)] = 0.25  # share of the training after which it was kept

    def requires(self) -> Mapping[str, str]:
        """An average that keeps snapshots."""
        return {"snapshots": "it is guided by an earlier state of the weights; take ema 'post_hoc' or 'checkpoints'"}

    def weaken(self, network: nn.Module) -> nn.Module:
        """The network as it is."""
        return network

    def weights(self, ema: Ema, snapshots: Kept, images: int) -> Weights:
        """Those of the snapshot."""
        return earlier_weights(snapshots, ema, self.at, images)

    def settings(self) -> list[str]:
        """The share of the training."""
        return [f"at={self.at:g}"]
