"""clip: what keeps one bad batch from undoing a thousand good ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Clip(Component):
    """Bounds gradients in place, after unscaling and before the optimizer's step."""

    kind: ClassVar[str] = "clip"

    @abstractmethod
    def apply(self, parameters: Sequence[torch.nn.Parameter]) -> Tensor:
        """Clip in place; the global norm before clipping, a 0-d tensor on the device (no sync)."""
