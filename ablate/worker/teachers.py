"""Teachers: finished trials whose averaged weights another trial learns from. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.io.files import digest
from ablate.training import checkpoint_files
from ablate.worker import records

DIGITS = 12  # of a hash that a message shows


def weights_hash(trial: Path) -> str | None:
    """Return the hash of what a complete trial has trained, by its checkpoint; None where it is gone or incomplete.

    trial: its folder. It covers the network, its averages and the snapshots that averages are made of.
    """
    record = records.read_valid(trial)
    if record is None or record["state"] != records.COMPLETE:
        return None
    facts = checkpoint_files.facts(trial / "checkpoint", record["images"])
    return None if facts is None else digest([facts["sha256"], facts.get("snapshots", {})])


def why_none(record: Mapping[str, Any] | None) -> str | None:
    """Return why a trial that has ended has no weights to teach with, by its record; None where it has.

    record: None of one that failed.
    """
    if record is None:
        return "failed"
    return "diverged" if record["state"] == records.DIVERGED else None
