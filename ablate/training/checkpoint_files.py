"""The files of a checkpoint, and what the JSON beside its tensors says: known without loading any tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.io.sealed import DamagedError, read_sealed

SO_FAR = "running.json"  # in a trial's folder: its curve, and the quality at points, while no record has them


def stem(images: int) -> str:
    """Return the name of the files of a checkpoint after so many images, without their ending."""
    return f"{images:012d}"


def facts(folder: Path, images: int) -> Mapping[str, Any] | None:
    """Return what a checkpoint says of itself; None where one of its files is gone, or this one is damaged."""
    file = folder / f"{stem(images)}.json"
    try:
        found: Mapping[str, Any] = read_sealed(file)
    except (OSError, DamagedError):
        return None
    return found if file.with_suffix(".safetensors").is_file() and "sha256" in found else None
