"""fusion: how a decoder feature and the skip feature beside it become one."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.component import Component

if TYPE_CHECKING:
    from torch import nn


class Fusion(Component):
    """Used where a network has long skips: (d, s) -> y, with y shaped like d."""

    kind: ClassVar[str] = "fusion"

    @abstractmethod
    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """A module `forward(d, s, context)`.

        d: (B, channels, H, W); s: (B, skip_channels, H, W); context: a `Context` whose vectors are
        `embedding` long: the condition, and the noise label. Returns (B, channels, H, W).
        """
