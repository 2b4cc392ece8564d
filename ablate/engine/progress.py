"""The progress of a study: its counts, its running trials and the time left, for live views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.candidates.names import Names
from ablate.io.files import read_json


@dataclass(frozen=True)
class Running:
    """A running trial, as its worker last wrote it into `progress.json`."""

    trial: str
    label: str
    seed: int
    phase: str
    images: int
    total: int | None
    loss: float | None
    images_per_second: float | None
    seconds: float = 0.0  # of training, in all runs
    limit: float | None = None  # of them, where time decides how long it trains

    @property
    def share(self) -> float:
        """Return how much of its training is done, in [0, 1]: of the images, or of the seconds where time decides."""
        if self.limit:
            return min(1.0, self.seconds / self.limit)
        return min(1.0, self.images / self.total) if self.total else 0.0


@dataclass(frozen=True)
class Progress:
    """A snapshot of a study's progress."""

    total: int  # trials, as far as is known
    done: int
    failed: int
    diverged: int
    running: tuple[Running, ...]
    seconds_left: float | None
    records: Mapping[str, Mapping[str, Any]]  # of the trials that are measured
    lines: tuple[str, ...]  # what happened since the last time
    names: Names = field(default_factory=Names)  # what candidates are called
    paused: int = 0  # trials that are paused: they may go on
    study: str = ""  # its name


@dataclass
class Outcome:
    """How a run of the engine ended, in trials; `refused` in candidates.

    `diverged` are among those that were measured, now or (`reused`) before.
    """

    measured: int = 0
    reused: int = 0
    diverged: int = 0
    failed: int = 0
    refused: int = 0
    short: str | None = None  # why a search found fewer candidates than it was asked for


def running(job: Mapping[str, Any], names: Names) -> Running:
    """Read the progress that a job's worker last wrote; nothing yet, or a damaged file, is a trial that starts."""
    try:
        progress = read_json(Path(job["folder"]) / "progress.json")
    except (OSError, ValueError):
        progress = {}
    return Running(
        job["trial"],
        names(job["choices"]),
        job["seed"],
        progress.get("phase", "start"),
        progress.get("images", 0),
        progress.get("total"),
        progress.get("loss"),
        progress.get("images_per_second"),
        progress.get("seconds", 0.0),
        progress.get("limit"),
    )
