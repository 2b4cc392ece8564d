"""clip `value`: gradient clipping by value, each number of a gradient by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Clip, Norms, Range

if TYPE_CHECKING:
    import torch


class ClipValue(Clip):
    """Clipping by value: g ← min(max(g, −limit), limit), elementwise: the direction changes.

    The norms cost two more passes over the gradients.
    """

    name = "value"

    limit: Annotated[float, Field(gt=0, le=1e9), Range(1e-4, 1, log=True)] = 0.01

    def apply(self, parameters: Mapping[str, torch.nn.Parameter]) -> Norms:
        """As torch's own clip_grad_value_. Infinity becomes the limit; the norm before tells of it."""
        import torch

        from ablate_zoo.layers.gradients import gradients, total_norm

        grads = gradients(parameters.values())
        before = total_norm(grads)
        if grads:
            torch.nn.utils.clip_grad_value_(parameters.values(), self.limit)
        return Norms(before, total_norm(grads))
