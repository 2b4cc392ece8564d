"""ema `checkpoints`: checkpoint averaging, the weights are kept now and then and averaged after training."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.api import Average, Weights
from ablate_zoo.ema._post_hoc import LONGEST, exponent, interval_shares
from ablate_zoo.ema._snapshots import SnapshotEma


class CheckpointEma(SnapshotEma):
    """The simple weighted average of checkpoints: each counts by what a power profile has in the time up to it.

    It costs nothing while training, and one copy of the weights on disk a snapshot. What happens
    between two snapshots is not seen, so it is noisier than post_hoc, and a length has to span the time
    between two of them at least: 1 / snapshots.
    """

    name = "checkpoints"

    def safe_lengths(self) -> tuple[float, float]:
        """All of the training alike."""
        return LONGEST, LONGEST

    def build(self, parameters: Weights) -> Average:
        """A view of the parameters."""
        from ablate_zoo.ema._averages import LiveWeights

        return LiveWeights(parameters, self.snapshots, self.dtype)

    def recipe(self, length: float, images: Sequence[int]) -> list[dict[str, float]]:
        """One coefficient a snapshot; they sum to 1."""
        return [{"0": float(part)} for part in interval_shares(exponent(length), images)]

    def reason(self, length: float, images: Sequence[int]) -> str | None:
        """Whether the profile's standard deviation spans the longest time between two snapshots."""
        longest = max(b - a for a, b in zip((0, *images), images, strict=False)) / images[-1]
        if length < min(longest, LONGEST) * (1 - 1e-6):
            return f"it is shorter than the time between two of them, {longest:.3g} of the training"
        return None
