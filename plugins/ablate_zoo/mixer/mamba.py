"""mixer `mamba`: a selective state-space model over the tokens, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ablate.api import Choice, MixerSite
from ablate_zoo.mixer._state_space import StateSpace

if TYPE_CHECKING:
    from torch import nn


class Mamba(StateSpace):
    """Selective scan: h_t = exp(Δ_tA)·h_{t−1} + Δ_tB_t·x_t, y_t = C_t·h_t + d·x_t; Δ, B, C by token (Gu & Dao 2023).

    The block of Mamba: a linear layer to x and a gate, a causal convolution along the tokens, the scan, the gate, a
    linear layer back; convolution and scan once in each direction, summed (Zhu et al. 2024, Vim; Fei et al. 2024, DiS).
    The papers have `expand: 2`; with 1 it has about three quarters of attention's parameters. The scan is elementwise,
    6·`state` operations a channel and token in each direction, which are not counted in `gflops`.
    """

    name = "mamba"

    state: Annotated[int, Field(ge=1, le=1024), Choice(8, 16)] = 16  # numbers a channel
    expand: Annotated[int, Field(ge=1, le=8), Choice(1, 2)] = 1  # channels within, over the width
    convolution: Annotated[int, Field(ge=1, le=64), Choice(3, 4)] = 4  # tokens of the causal convolution

    def build(self, site: MixerSite) -> nn.Module:
        """`SelectiveBlock` of `ablate_zoo.mixer._mamba`."""
        from ablate_zoo.mixer._mamba import SelectiveBlock

        sizes = (site.width, self.expand * site.width, self.state, self.convolution)
        return SelectiveBlock(*sizes, site.bias, site.zero_init, self.sequence(site))
