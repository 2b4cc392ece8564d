"""global_norm: all gradients as one vector, shortened where it is too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Clip, Range

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class GlobalNorm(Clip):
    """g ← g · min(1, max_norm / |g|), Pascanu et al. 2013, Algorithm 1."""

    name = "global_norm"

    max_norm: Annotated[float, Field(gt=0), Range(0.1, 10, log=True)] = 1.0

    def apply(self, parameters: Sequence[torch.nn.Parameter]) -> Tensor:
        """The norm before clipping. A norm that is not finite makes all gradients NaN, and the loss tells."""
        import torch

        return torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)
