"""none: gradients stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.api import Clip

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class NoClip(Clip):
    """Observes the norm, changes nothing."""

    name = "none"
    default = True

    def apply(self, parameters: Sequence[torch.nn.Parameter]) -> Tensor:
        """The global L2 norm of the gradients there are; 0 where there is none."""
        import torch

        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
