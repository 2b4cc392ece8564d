"""Detection of samples that are still noise: their roughness between that of the data and that of white noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

NOISE = 2 / math.sqrt(math.pi)  # E|a - b| / deviation of two independent normal numbers
REFERENCE = 256  # pictures of the data that are looked at
THRESHOLD = 0.33  # beyond it samples look like noise (benchmarks/noisiness.py: shapes up to 0.30, hardly any from 0.38)
DISTINCT = 0.6  # of NOISE: data that are rougher than this themselves are not told from noise


def roughness(images: NDArray[np.uint8]) -> float:
    """Compute the mean absolute difference of neighbouring pixels / their deviation; (N, C, H, W) uint8.

    White noise has 1.128 whatever its strength, a smooth picture next to 0.
    """
    x = images.astype(np.float32)
    deviation = float(x.std())
    if deviation == 0:
        return 0.0
    steps = np.concatenate([np.abs(np.diff(x, axis=axis)).ravel() for axis in (2, 3)])
    return float(steps.mean()) / deviation if steps.size else 0.0


def noise(samples: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float | None:
    """Return how noisy samples are; 0: as smooth as the data, 1: white noise; below 0 where smoother.

    None where there is nothing to compare, or the data themselves are nearly as rough as noise.
    """
    if not len(samples) or not len(reference):
        return None
    of_data = roughness(np.asarray(reference[:REFERENCE]))
    if of_data > DISTINCT * NOISE:
        return None
    return (roughness(samples) - of_data) / (NOISE - of_data)
