"""mixer `s4d`: a diagonal state-space model as a long convolution over the tokens, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ablate.api import Choice, MixerSite
from ablate_zoo.mixer._state_space import StateSpace

if TYPE_CHECKING:
    from torch import nn


class S4D(StateSpace):
    """S4D: h' = Ah + x, y = Re(Ch) + dx for each channel, A diagonal and complex (Gu et al. 2022, "S4D-Lin").

    As a convolution with two kernels of the sequence's length, one a direction, by FFT; then GELU and a gated linear
    unit. What mixes tokens does not depend on what they hold. Two thirds of attention's parameters and matrix work, as
    no layer stands before it; FFT and kernels are not counted in `gflops`.
    """

    name = "s4d"
    reads: ClassVar[frozenset[str]] = frozenset()

    state: Annotated[int, Field(ge=2, le=1024, multiple_of=2), Choice(16, 64)] = 16  # numbers a channel; the paper's 64

    def build(self, site: MixerSite) -> nn.Module:
        """`Convolution` of `ablate_zoo.mixer._s4d`."""
        from ablate_zoo.mixer._s4d import Convolution

        return Convolution(site.width, self.state, site.zero_init, self.sequence(site))
