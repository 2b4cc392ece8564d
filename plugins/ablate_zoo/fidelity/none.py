"""fidelity `none`: every candidate is trained to the end of its budget."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.api import Fidelity, Rung


class NoFidelity(Fidelity):
    """The full budget for every candidate."""

    name = "none"
    default = True

    def rungs(self) -> tuple[float, ...]:
        """There is none: nobody pauses."""
        return ()

    def promote(self, rungs: Sequence[Rung], closing: bool) -> None:
        """Nobody waits to go on."""
