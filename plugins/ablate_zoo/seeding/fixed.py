"""seeding `fixed`: every candidate has the seeds of the design."""

from __future__ import annotations

from ablate.api import Race, Seeding


class FixedSeeds(Seeding):
    """As many seeds for every candidate as `design.seeds` says."""

    name = "fixed"
    default = True

    def looks(self, seeds: int) -> None:
        """Nobody looks before the end."""

    def next(self, race: Race) -> None:
        """Nobody gets a further seed."""
