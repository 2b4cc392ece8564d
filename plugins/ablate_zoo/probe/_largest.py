"""A probe's summary: the largest value of a whole training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def largest(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the largest value of all observations and sites; None where there is none, or one is not finite."""
    values = [row["value"] for row in rows]
    return None if not values or None in values else float(max(values))
