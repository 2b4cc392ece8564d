"""fusion: how a decoder feature and the skip feature beside it become one."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn

    from ablate.kinds.conditioning import Site


class Fusion(Component):
    """Used where a network has long skips: (d, s) -> y, with y shaped like d, or with more channels."""

    kind: ClassVar[str] = "fusion"

    def channels(self, channels: int, skip_channels: int) -> int:
        """Channels of y: those of d, unless the fusion leaves it to the block that follows to reduce them."""
        return channels

    def build_at(self, channels: int, skip_channels: int, site: Site) -> nn.Module:
        """What a backbone calls: `build`, for a fusion that is the same at all places; one that is not overrides this.

        site: the block that follows, how many blocks there are, and the resolution (H, W) of d and s.
        """
        return self.build(channels, skip_channels, site.embedding)

    @abstractmethod
    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """A module `forward(d, s, context)`.

        d: (B, channels, H, W); s: (B, skip_channels, H, W); context: a `Context` whose vectors are
        `embedding` long: the condition, and the noise label. Returns (B, C, H, W), where C is
        `self.channels(channels, skip_channels)`.
        """
