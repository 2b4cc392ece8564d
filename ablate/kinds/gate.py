"""gate: how much of a skip connection passes into the decoder."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ablate.spec.component import Component

if TYPE_CHECKING:
    from torch import nn


class Gate(Component):
    """Computes (d, s) -> g in [0, 1], by which a fusion multiplies the skip connection.

    A gate says "monotone_in_noise" in `provides()` where g never rises with the noise label, whatever its
    weights are, d and s being held.
    """

    kind: ClassVar[str] = "gate"

    @abstractmethod
    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module | None:
        """Build a module `forward(d, s, context)`; None: always open.

        d: (B, channels, H, W); s: (B, skip_channels, H, W), as it would be passed on; context: a `Context`
        whose vectors are `embedding` long. Returns g, which broadcasts to s: (B, 1 or skip_channels, 1 or H,
        1 or W), in fp32 under autocast too.
        """
