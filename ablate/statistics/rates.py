"""Rates, such as of runs that diverged, with their intervals."""

from __future__ import annotations


def clopper_pearson(count: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a rate that was seen `count` times of `of` (Clopper & Pearson 1934); (0, 1) of none.

    It covers the true rate with at least this confidence, also of three runs.
    """
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high
