"""fusion `frequency`: skip connection whose low and high frequencies are scaled each by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ablate.api import Choice, Range
from ablate_zoo.fusion._skip import SkipFusion

if TYPE_CHECKING:
    from torch import nn

Scales = Annotated[Literal["fixed", "learned", "time"], Choice("fixed", "learned", "time")]
Merge = Annotated[Literal["add", "concat"], Choice("add", "concat")]


class Frequency(SkipFusion):
    """Scaled frequencies: s is split by FFT into low and high pass, each scaled; their sum is added or concatenated.

    The low pass is 1/(1 + (r/cutoff)⁴), r the distance from zero frequency; the high pass is the rest. Scaling
    the bands of a skip is from FreeU (Si et al. 2023, eq. 5), there with a hard edge and after training. The
    FFT is no matrix work: `gflops` and `macs` do not count it.
    """

    name = "frequency"

    cutoff: Annotated[float, Field(gt=0, le=1), Range(0.1, 0.8)] = 0.25  # in units of half a cycle a pixel
    scales: Scales = "learned"  # time: they move with the noise level
    low: Annotated[float, Field(ge=0, le=4), Range(0.2, 1.5)] = 1.0  # scale of the low pass, or where it begins
    high: Annotated[float, Field(ge=0, le=4), Range(0.2, 1.5)] = 1.0  # scale of the high pass, or where it begins
    merge: Merge = "add"  # concat: by a 1×1 convolution to the channels of d

    def build(self, channels: int, skip_channels: int, embedding: int) -> nn.Module:
        """See `ablate_zoo.fusion._modules`."""
        from ablate_zoo.fusion._modules import Add, BandScale, Concat
        from ablate_zoo.fusion._modules import Frequency as Module

        bands = BandScale(skip_channels, self.cutoff, self.low, self.high, self.scales)
        if self.merge == "add":
            return Module(bands, Add(channels, skip_channels, self.skip_dropout))
        return Module(bands, Concat(channels, skip_channels, skip_dropout=self.skip_dropout))
