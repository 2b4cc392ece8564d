"""Detection of collapsed samples: how much they differ from one another, beside how much the data do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REFERENCE = 256  # pictures of the data that are looked at
THRESHOLD = 0.1  # below it samples are nearly all alike; those of the short ready studies have 0.8 and more


def spread(images: NDArray[np.uint8]) -> float:
    """Compute the deviation of pixels over the images, root mean square over the pixels; (N, C, H, W) uint8, N > 1."""
    return float(np.sqrt(images.astype(np.float32).var(axis=0, ddof=1).mean()))


def variety(samples: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float | None:
    """Return how much samples differ from one another; 0: all alike (collapsed), 1: as much as the data.

    None where there are no two samples, or the data are all alike themselves.
    """
    if len(samples) < 2 or len(reference) < 2:
        return None
    of_data = spread(np.asarray(reference[:REFERENCE]))
    return spread(samples) / of_data if of_data > 0 else None
