"""gate `none`: no gate, all of the skip passes."""

from __future__ import annotations

from ablate.api import Gate


class NoGate(Gate):
    """No gate, g = 1: all of the skip passes."""

    name = "none"

    def provides(self) -> frozenset[str]:
        """It never opens as noise grows, for it is open."""
        return frozenset({"monotone_in_noise"})

    def build(self, channels: int, skip_channels: int, embedding: int) -> None:
        """Nothing to compute."""
