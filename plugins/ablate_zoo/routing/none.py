"""routing `none`: all tokens pass through all blocks."""

from __future__ import annotations

from ablate.api import Routing, Site


class AllTokens(Routing):
    """All tokens pass through all blocks."""

    name = "none"
    default = True

    def build(self, site: Site) -> None:
        """Nothing stands between the blocks."""
