"""clip `none`: no gradient clipping, the gradient norm is only measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.api import Clip, Norms

if TYPE_CHECKING:
    import torch


class NoClip(Clip):
    """No gradient clipping: observes the norm, changes nothing."""

    name = "none"
    default = True

    def apply(self, parameters: Mapping[str, torch.nn.Parameter]) -> Norms:
        """The global L2 norm of the gradients there are, twice; 0 where there is none."""
        from ablate_zoo.layers.gradients import gradients, total_norm

        norm = total_norm(gradients(parameters.values()))
        return Norms(norm, norm)
