"""The health and the learning curve of a training: its last finite steps, steps that loss scaling skipped, mean losses.

Also the types of what a record says of a divergence. Without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

LAST = 5  # finite steps that are told where the next one is not
MOST_SKIPS = 50  # in a row: by then the loss scale has fallen by 1e15, and it is not the scale


class Diagnosis(TypedDict):
    """What is not finite in a training step, or in sampling; JSON, a number that is not finite is null."""

    module: str | None
    message: str
    log_snr: list[float] | None  # the batch's lowest and highest
    worst: list[dict[str, float | None]]  # {"log_snr", "loss"} of the images with the worst loss


class Divergence(Diagnosis):
    """Where and why a training, or the sampling after it, went out of range; `divergence` of a record."""

    step: int
    images: int
    last: list[dict[str, Any]]  # the last steps before
    weight_norm: float | None


class TrainingHealth:
    """Detects divergence (early stopping): is given every step's loss and gradient norm; part of a checkpoint."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        stored = state or {"last": [], "skipped": 0, "in_a_row": 0}
        self.last: list[dict[str, Any]] = list(stored["last"])  # {"step", "loss", "grad_norm"}, oldest first
        self.skipped = int(stored["skipped"])  # steps without an update: a gradient was not finite under loss scaling
        self._in_a_row = int(stored["in_a_row"])

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as JSON."""
        return {"last": self.last, "skipped": self.skipped, "in_a_row": self._in_a_row}

    def take(self, step: int, loss: float, norm: float, scaled: bool) -> bool:
        """Return whether training can continue after a step of this loss and gradient norm. scaled: by loss scaling."""
        if not math.isfinite(loss):
            return False
        if math.isfinite(norm):
            self._in_a_row = 0
            self.last = [*self.last, {"step": step, "loss": loss, "grad_norm": norm}][-LAST:]
            return True
        if not scaled:
            return False
        self.skipped += 1
        self._in_a_row += 1
        return self._in_a_row < MOST_SKIPS

    @property
    def stuck(self) -> bool:
        """Return whether loss scaling has skipped too many steps in a row."""
        return self._in_a_row >= MOST_SKIPS


def speeds(columns: Mapping[str, Sequence[Any]]) -> list[float]:
    """Return the images a second of each row of a learning curve, since the row before, by its columns."""
    images, seconds = columns["images"], columns["seconds"]
    befores = zip((0, *images), (0.0, *seconds), strict=True)
    return [_speed(*before, *row) for before, row in zip(befores, zip(images, seconds, strict=True), strict=False)]


def _speed(images_before: float, seconds_before: float, images: float, seconds: float) -> float:
    return float((images - images_before) / max(seconds - seconds_before, 1e-9))


class Curve:
    """The learning curve, and the sums of its next row.

    Rows: {"images", "loss", "grad_norm", ..., "lr", "images_per_second", "seconds"}.
    Sums grow step by step and are part of the state, so a row over an interruption is the same to the bit. The first
    rows may be those of a shorter training, which lie closer together (`prolong`).
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        stored = state or {"rows": [], "sums": {}}
        self.rows: list[dict[str, Any]] = list(stored["rows"])
        self._sums: dict[str, list[Any]] = {name: list(pair) for name, pair in stored["sums"].items()}  # [sum, count]
        self._surplus = int(stored.get("surplus", 0))  # rows more than at this training's own distance

    def prolong(self, rows: int) -> None:
        """Go on with the rows of a shorter training, in place of so many at this training's own distance."""
        self._surplus = len(self.rows) - rows

    def state(self) -> dict[str, Any]:
        """Return the curve for a checkpoint, as JSON."""
        return {"rows": self.rows, "sums": self._sums, "surplus": self._surplus}

    @property
    def images(self) -> int:
        """Images at the last row."""
        return int(self.rows[-1]["images"]) if self.rows else 0

    @property
    def seconds(self) -> float:
        """Seconds of training at the last row."""
        return float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def add(self, values: Mapping[str, float]) -> None:
        """Add one step to the next row. What is not finite (the norm of a skipped step) does not count."""
        for name, value in values.items():
            pair = self._sums.setdefault(name, [0.0, 0])
            if math.isfinite(value):
                pair[0] += value
                pair[1] += 1

    def close_row(self, images: int, rate: float, seconds: float) -> None:
        """Append a row of the means since the last row, if there was a step; `seconds` of training so far."""
        if not self._sums:
            return
        means = {name: total / count if count else None for name, (total, count) in self._sums.items()}
        speed = _speed(self.images, self.seconds, images, seconds)
        self.rows.append({"images": images, **means, "lr": rate, "images_per_second": speed, "seconds": seconds})
        self._sums = {}

    def final_loss(self) -> float | None:
        """Return the mean loss over the last tenth of the rows; None where there is none.

        Of a training that was prolonged, over as many rows as if it had been trained from nothing.
        """
        last = self.rows[-max(1, (len(self.rows) - self._surplus) // 10) :]
        return sum(row["loss"] for row in last) / len(last) if last else None
