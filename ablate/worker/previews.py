"""Samples at the points of a training: a few pictures of each, from the same latents, in one file of the trial."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.io.files import write_atomic

PREVIEWS = "previews.npz"  # {images, as 12 digits: (N, C, H, W) uint8}


def read(folder: Path) -> dict[int, NDArray[np.uint8]]:
    """Read {images: samples, uint8 (N, C, H, W)} in a trial's folder, in order; {} without sound ones."""
    try:
        with np.load(folder / PREVIEWS, allow_pickle=False) as file:
            found = {int(name): file[name] for name in sorted(file.files)}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return {}
    return {images: one for images, one in found.items() if _is_sound(one)}


def keep(folder: Path, images: int, samples: NDArray[np.uint8]) -> None:
    """Add the samples after so many images; what was kept after as many or more, by a run before, does not count."""
    if not len(samples):
        return
    kept = {**{at: one for at, one in read(folder).items() if at < images}, images: samples}
    content, named = io.BytesIO(), dict[str, Any]((f"{at:012d}", one) for at, one in kept.items())
    np.savez_compressed(content, **named)  # numpy before 2.1 takes any option for an array
    write_atomic(folder / PREVIEWS, content.getvalue(), durable=False)  # synced with the record


def _is_sound(images: NDArray[np.uint8]) -> bool:
    return images.ndim == 4 and len(images) > 0 and images.shape[1] >= 1 and images.dtype == np.uint8
