"""clip `per_layer`: gradient clipping by the norm of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Clip, Norms, Range

if TYPE_CHECKING:
    import torch


class PerLayer(Clip):
    """Clipping by layer: g_l ← g_l · min(1, max_norm / |g_l|), a layer being a module with its weight and bias.

    One layer that explodes does not slow the others down, as it does under a global norm; the
    direction of the whole gradient changes.
    """

    name = "per_layer"

    max_norm: Annotated[float, Field(gt=0, le=1e9), Range(0.01, 1, log=True)] = 0.1

    def apply(self, parameters: Mapping[str, torch.nn.Parameter]) -> Norms:
        """A layer whose norm is infinite becomes zero and NaN; the norm before tells of it."""
        from ablate_zoo.clip._clipping import clip_layers

        return clip_layers(parameters, self.max_norm)
