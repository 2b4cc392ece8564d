"""The learning curve: rows of means over the steps between them, whatever interrupts the training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Curve:
    """Rows {"images", "loss", "grad_norm", ..., "lr", "images_per_second", "seconds"}, and the sums of the next one.

    Sums grow step by step and are part of the state, so a row over an interruption is the same to the bit.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        held = state or {"rows": [], "sums": {}}
        self.rows: list[dict[str, Any]] = list(held["rows"])
        self._sums: dict[str, list[Any]] = {name: list(pair) for name, pair in held["sums"].items()}  # [sum, count]

    def state(self) -> dict[str, Any]:
        """JSON from which the curve goes on."""
        return {"rows": self.rows, "sums": self._sums}

    @property
    def images(self) -> int:
        """Images at the last row."""
        return int(self.rows[-1]["images"]) if self.rows else 0

    @property
    def seconds(self) -> float:
        """Seconds of training at the last row."""
        return float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def add(self, values: Mapping[str, float]) -> None:
        """Take in one step. What is not finite (the norm of a step that loss scaling skips) does not count."""
        for name, value in values.items():
            pair = self._sums.setdefault(name, [0.0, 0])
            if math.isfinite(value):
                pair[0] += value
                pair[1] += 1

    def close_row(self, images: int, rate: float, seconds: float) -> None:
        """Write down the means since the last row, if there was a step; `seconds` of training so far."""
        if not self._sums:
            return
        means = {name: total / count if count else None for name, (total, count) in self._sums.items()}
        speed = (images - self.images) / max(seconds - self.seconds, 1e-9)
        self.rows.append({"images": images, **means, "lr": rate, "images_per_second": speed, "seconds": seconds})
        self._sums = {}

    def final_loss(self) -> float | None:
        """The mean loss over the last tenth of the rows."""
        last = self.rows[-max(1, len(self.rows) // 10) :]
        return sum(row["loss"] for row in last) / len(last) if last else None
