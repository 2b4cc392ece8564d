"""Intervals of means."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def t_interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of the mean of (n,) values; NaN of fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    from scipy.special import stdtrit  # scipy.stats has it too, and takes a second to import

    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half
