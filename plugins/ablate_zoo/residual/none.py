"""residual `none`: x + branch."""

from __future__ import annotations

from ablate.api import Residual


class NoScale(Residual):
    """Residual connection as it is: x + gate·branch (He et al. 2016)."""

    name = "none"
