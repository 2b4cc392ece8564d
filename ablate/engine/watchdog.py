"""The watchdog: finds workers that hang, by their heartbeat (the files that they write into a trial's folder)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVERY = 5.0  # seconds between two looks, at the most

Mark = tuple[tuple[int, int] | None, ...]


def of_training(job: Mapping[str, Any]) -> list[Path]:
    """Return the heartbeat files of a training: written when a worker takes a trial up, then once a second."""
    return [Path(job["folder"]) / name for name in ("job.json", "progress.json")]


@dataclass
class _Heartbeat:
    mark: Mark
    since: float
    begun: bool  # whether a worker has it: on a busy cluster it may wait for hours


class Watchdog:
    """Finds the jobs without a heartbeat for `patience` seconds (None: never).

    Only changes of the files count, seen on this machine's clock: those of the workers' may differ.
    signs: the files of a job.
    """

    def __init__(
        self,
        patience: float | None,
        clock: Callable[[], float] = time.monotonic,
        signs: Callable[[Mapping[str, Any]], Iterable[Path]] = of_training,
    ) -> None:
        self._signs = signs
        self._patience = patience
        self._clock = clock
        self._heartbeats: dict[str, _Heartbeat] = {}
        self._looked = float("-inf")

    def begun(self, job: Mapping[str, Any]) -> None:
        """Begin to watch a job that is handed to a worker."""
        self._heartbeats[job["job"]] = _Heartbeat(self._mark(job), self._clock(), False)

    def silent(self, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Return the running jobs without a heartbeat for too long, {name: seconds}; each is named once."""
        now = self._clock()
        if self._patience is None or now - self._looked < min(EVERY, self._patience / 4):
            return {}
        self._looked = now
        silent = {}
        for name, job in jobs.items():
            heartbeat, mark = self._heartbeats[name], self._mark(job)
            if mark != heartbeat.mark:
                self._heartbeats[name] = _Heartbeat(mark, now, True)
            elif heartbeat.begun and now - heartbeat.since >= self._patience:
                silent[name] = now - heartbeat.since
                heartbeat.since = now  # it is named once
        return silent

    def _mark(self, job: Mapping[str, Any]) -> Mark:
        """Return the identity and time of each heartbeat file, which change when it is written anew."""
        return tuple(map(_identity, self._signs(job)))


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
