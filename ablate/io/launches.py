"""The log of commands in a study's folder: a line of JSON for each `ablate run` and `ablate evaluate`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.io.locks import locked

FILE = "launches.jsonl"


def append(folder: Path, launch: Mapping[str, Any]) -> None:
    """Append a launch to the log in one write; a line that a killed process left half written stays apart."""
    line = json.dumps(launch, allow_nan=False) + "\n"
    with locked(folder / f".{FILE}.lock"), (folder / FILE).open("ab+", buffering=0) as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - 1))
        torn = size > 0 and log.read(1) != b"\n"
        log.write((("\n" if torn else "") + line).encode())
        os.fsync(log.fileno())


def read(folder: Path) -> list[dict[str, Any]]:
    """Read all complete launches, the oldest first; none where the folder was made before there was a log."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [launch for line in lines if isinstance(launch := _parsed(line), dict)]


def format_launch(launch: Mapping[str, Any]) -> tuple[str, str, str]:
    """Format a launch: when and where; the command in its folder; versions and commit."""
    executor, versions = (
        value if isinstance(value := launch.get(key), Mapping) else {} for key in ("executor", "versions")
    )
    commit = [f"commit {launch['commit']}"] if launch.get("commit") else []
    place = f"in {launch['cwd']}: " if launch.get("cwd") else ""  # a published folder does not say where it was
    return (
        f"{date(launch.get('date'))} on {launch.get('host')}, {launch.get('device')}, executor {executor.get('type')}",
        f"{place}{launch.get('command')}",
        ", ".join([*(f"{name} {version}" for name, version in versions.items()), *commit]),
    )


def date(logged: object) -> str:
    """Format a date of the log, to the minute."""
    return f"{logged[:16].replace('T', ' ')} UTC" if isinstance(logged, str) and logged else "unknown"


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
