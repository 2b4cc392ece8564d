"""gate `time`: the skip fades as the noise grows, by the noise level (timestep) alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import Gate

if TYPE_CHECKING:
    from torch import nn


class TimeGate(Gate):
    """Gate by noise level: g = sigmoid(b − softplus(w)·asinh(c_noise)), which never opens as the noise grows."""

    name = "time"

    per_channel: bool = True  # b and w for each channel, not one of each

    def provides(self) -> frozenset[str]:
        """Never opens as noise grows."""
        return frozenset({"monotone_in_noise"})

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.gate._modules`."""
        from ablate_zoo.gate._modules import TimeGate as Module

        return Module(skip_channels if self.per_channel else 1)
