"""mixer `ssm`: a gated linear recurrence over the tokens, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.api import MixerSite
from ablate_zoo.mixer._state_space import StateSpace

if TYPE_CHECKING:
    from torch import nn


class SSM(StateSpace):
    """State-space model: h_t = (1 − z_t)·h_{t−1} + z_t·v_t along the tokens and back, z_t = σ(Wx_t) (Feng et al. 2024).

    A diagonal state of the tokens' width whose decay the tokens gate; W(h→ + h←) comes out. As many parameters as
    attention; the recurrence is elementwise, so it is not counted in `gflops`. Heads, query-key norms and rotations are
    not read: the order of the tokens is its position code.
    """

    name = "ssm"

    def build(self, site: MixerSite) -> nn.Module:
        """`Recurrence` of `ablate_zoo.mixer._recurrence`."""
        from ablate_zoo.mixer._recurrence import Recurrence

        return Recurrence(site.width, site.bias, site.zero_init, self.sequence(site))
