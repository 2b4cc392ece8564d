"""clip `agc`: adaptive gradient clipping, relative to the norm of each unit's weights (Brock et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Clip, Norms, Range

if TYPE_CHECKING:
    import torch


class AdaptiveClip(Clip):
    """Adaptive gradient clipping: g_i ← g_i · min(1, ratio · max(|w_i|, least) / |g_i|), Brock et al. 2021, equation 3.

    A unit i is what makes one output: a row of a linear layer's weight, a filter of a convolution.
    Biases, gains of norms and whatever else has one dimension are left alone. The authors also
    leave the last layer out; a network whose last layer starts at zero needs that, or it starts slowly.
    """

    name = "agc"

    ratio: Annotated[float, Field(gt=0, le=100), Range(0.002, 0.5, log=True)] = 0.01  # λ
    least: Annotated[float, Field(gt=0, le=1)] = 1e-3  # norm that a unit's weights count with, at the least
    last_layer: bool = False  # clipped too

    def apply(self, parameters: Mapping[str, torch.nn.Parameter]) -> Norms:
        """The norms come from those of the units: no pass over the gradients more."""
        from ablate_zoo.clip._clipping import clip_units

        return clip_units(parameters, self.ratio, self.least, self.last_layer)
