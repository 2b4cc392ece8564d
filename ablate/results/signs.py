"""Progress of the trials in a study's folder: who is at work there, and what they last reported."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.io.files import read_json
from ablate.io.locks import is_locked
from ablate.runtime.stored import SIGNS

RECENT = 60.0  # seconds
HELD = "held"  # in a study's folder of workers, see `ablate.execute.leases`


@dataclass(frozen=True)
class Unfinished:
    """A trial without an end: `running` (a worker holds its folder), `waiting` (for one), or `interrupted`."""

    trial: str
    state: str
    phase: str | None = None
    images: int | None = None
    total: int | None = None
    loss: float | None = None
    images_per_second: float | None = None
    age_seconds: float | None = None  # since the worker last told


def driven(folder: Path) -> bool:
    """Return whether an `ablate run` is at work in the folder; of a copy of a store, whether it has just said so."""
    return is_locked(folder / ".driver") or _is_recent(_said(folder).get("driver"))


def _said(folder: Path) -> dict[str, Any]:
    """Return what driver and workers of a study in a store last said of themselves."""
    try:
        content = read_json(folder / SIGNS)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_recent(sign: Any) -> bool:
    """Return whether somebody gave a sign of life within a minute, where the clocks agree."""
    return isinstance(sign, dict) and isinstance(sign.get("time"), float) and time.time() - sign["time"] < RECENT


def unfinished(folder: Path, trial: str, at_work: bool) -> Unfinished:
    """Return the progress of a trial that has neither record nor failure."""
    place = folder / "trials" / trial
    held = place.is_symlink() and place.readlink().parent.parent.name == HELD  # by a worker, on any machine
    held = held or any(_is_recent(one) and one.get("trial") == trial for one in _said(folder).get("workers", ()))
    state = "running" if held or is_locked(place / ".lock") else "waiting" if at_work else "interrupted"
    progress, age = _last_progress(place / "progress.json")
    numbers = {key: progress.get(key) for key in ("phase", "images", "total", "loss", "images_per_second")}
    return Unfinished(trial, state, **numbers, age_seconds=age)


def _last_progress(file: Path) -> tuple[dict[str, Any], float | None]:
    """Return what the worker last wrote, and how many seconds ago."""
    try:
        content = read_json(file)
        age = max(0.0, time.time() - file.stat().st_mtime)
    except (OSError, ValueError):
        return {}, None
    pairs = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, str if key == "phase" else int | float)}, age
