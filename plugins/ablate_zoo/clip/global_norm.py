"""clip `global_norm`: gradient clipping by the global norm of all gradients (Pascanu et al. 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Clip, Norms, Range

if TYPE_CHECKING:
    import torch


class GlobalNorm(Clip):
    """Clipping by the global norm: g ← g · min(1, max_norm / |g|), Pascanu et al. 2013, Algorithm 1.

    The direction stays, so a bad batch slows all layers alike.
    """

    name = "global_norm"

    max_norm: Annotated[float, Field(gt=0, le=1e9), Range(0.1, 10, log=True)] = 1.0

    def apply(self, parameters: Mapping[str, torch.nn.Parameter]) -> Norms:
        """As torch's own clip_grad_norm_; a norm that is not finite makes all gradients NaN, and the loss tells."""
        import torch

        before = torch.nn.utils.clip_grad_norm_(parameters.values(), self.max_norm)
        return Norms(before, before * (self.max_norm / (before + 1e-6)).clamp(max=1))  # torch's own factor
