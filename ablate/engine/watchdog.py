"""The watchdog: finds workers that hang, by their heartbeat (the files that they write into a trial's folder).

And those that take longer than they may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.engine.packs import members

EVERY = 5.0  # seconds between two looks, at the most

SILENT, LATE = "silent", "late"  # why a job is to be ended

Mark = tuple[tuple[int, int] | None, ...]


def of_training(job: Mapping[str, Any]) -> list[Path]:
    """Return the heartbeat files of a training, or of a pack's: written when it is taken up, then once a second."""
    folders = [Path(one["folder"]) for one in members(job)]
    return [folder / name for folder in folders for name in ("job.json", "progress.json")]


@dataclass
class _Heartbeat:
    mark: Mark
    since: float
    begun: float | None  # since when a worker has it: on a busy cluster it may wait for hours


class Watchdog:
    """Finds the jobs without a heartbeat for `patience` seconds (None: never).

    Only changes of the files count, seen on this machine's clock: those of the workers' may differ.
    signs: the files of a job. limit: seconds that a job may take, from its first heartbeat on; None: any.
    """

    def __init__(
        self,
        patience: float | None,
        clock: Callable[[], float] = time.monotonic,
        signs: Callable[[Mapping[str, Any]], Iterable[Path]] = of_training,
        limit: float | None = None,
    ) -> None:
        self._signs = signs
        self._limit = limit
        self._patience = patience
        self._clock = clock
        self._heartbeats: dict[str, _Heartbeat] = {}
        self._looked = float("-inf")

    def begun(self, job: Mapping[str, Any]) -> None:
        """Begin to watch a job that is handed to a worker."""
        self._heartbeats[job["job"]] = _Heartbeat(self._mark(job), self._clock(), None)

    def silent(self, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Return the running jobs without a heartbeat for too long, {name: seconds}; each is named once."""
        return {name: seconds for name, (why, seconds) in self.to_end(jobs).items() if why == SILENT}

    def to_end(self, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, float]]:
        """Return the running jobs that are to be ended, {name: (SILENT or LATE, seconds)}; each is named once."""
        now, limits = self._clock(), [s for s in (self._patience, self._limit) if s is not None]
        if not limits or now - self._looked < min(EVERY, min(limits) / 4):
            return {}
        self._looked = now
        found = {}
        for name, job in jobs.items():
            heartbeat, mark = self._heartbeats[name], self._mark(job)
            if mark != heartbeat.mark:
                begun = now if heartbeat.begun is None else heartbeat.begun
                heartbeat = self._heartbeats[name] = _Heartbeat(mark, now, begun)
            if heartbeat.begun is None:
                continue
            if self._limit is not None and now - heartbeat.begun >= self._limit:
                found[name] = (LATE, self._limit)
                heartbeat.begun = heartbeat.since = now  # it is named once
            elif self._patience is not None and now - heartbeat.since >= self._patience:
                found[name] = (SILENT, now - heartbeat.since)
                heartbeat.since = now
        return found

    def _mark(self, job: Mapping[str, Any]) -> Mark:
        """Return the identity and time of each heartbeat file, which change when it is written anew."""
        return tuple(map(_identity, self._signs(job)))


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
