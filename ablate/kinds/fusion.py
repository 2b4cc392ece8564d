"""fusion: how a skip connection is joined to the decoder feature beside it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn

    from ablate.kinds.conditioning import Site


class Fusion(Component):
    """Fuses a long skip connection s with the decoder feature d: (d, s) -> y, shaped like d or with more channels."""

    kind: ClassVar[str] = "fusion"

    def channels(self, channels: int, skip_channels: int) -> int:
        """Return the channels of y: those of d, unless the fusion leaves it to the next block to reduce them."""
        return channels

    def build_at(self, channels: int, skip_channels: int, site: Site) -> nn.Module:
        """Build the module at a place of the network: `build`, unless a fusion differs between places.

        site: the block that follows, how many blocks there are, and the resolution (H, W) of d and s.
        """
        return self.build(channels, skip_channels, site.embedding)

    @abstractmethod
    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """Build a module `forward(d, s, context)`.

        d: (B, channels, H, W); s: (B, skip_channels, H, W); context: a `Context` whose vectors are
        `embedding` long: the condition, and the noise label. Returns (B, C, H, W), where C is
        `self.channels(channels, skip_channels)`.
        """
