"""A training that is prolonged: it begins with a checkpoint of a shorter training of the same candidate and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ablate.training import checkpoint
from ablate.training.checkpoint import CHECKPOINTS, KEPT, Checkpoint

BEGUN = "continued_from"  # key of a checkpoint's facts and of a record


@dataclass(frozen=True)
class ShorterTraining:
    """Where the checkpoint of a shorter training lies. Whether it may be gone on with was decided by who names it."""

    trial: Path  # its folder
    images: int
    study: str  # the folder of its study, as a record calls it

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> Self | None:
        """Return what a trial's job says; None where it begins with nothing."""
        said = job.get("continues")
        return None if said is None else cls(Path(said["trial"]), said["images"], said["study"])

    def job(self) -> dict[str, Any]:
        """Return the keys of a trial's job that say so, as JSON."""
        return {"continues": {"trial": str(self.trial), "images": self.images, "study": self.study}}

    def load(self, device: str, sources: Mapping[str, str]) -> Checkpoint | None:
        """Load the checkpoint, whose facts then say where it is from; None where it is gone, or of other source.

        sources: hashes of the source that trains.
        """
        found = checkpoint.after((self.trial / CHECKPOINTS, self.trial / KEPT), self.images, device)
        if found is None or found.facts.get("sources") != dict(sources):
            return None
        begun = {
            "folder": self.study,
            "trial": self.trial.name,
            "images": found.images,
            "train_seconds": found.facts["seconds"],
        }
        return replace(found, facts={**found.facts, BEGUN: begun})
