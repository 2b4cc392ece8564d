"""probe `loss_by_level`: at which noise levels a network is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.api import PassObserver, Probe


class LossByLevel(Probe):
    """The loss over log SNR, on the held batch: the picture behind every weighting.

    x is log(α²/σ²) of 16 levels, even in the schedule's time; site `loss` is the loss as it is trained on,
    with its weight, and `x0_error` the mean squared error of the clean image, which can be compared
    over targets, weightings and losses. Its summary is the mean of `loss` over the levels at the end of
    training.
    """

    name = "loss_by_level"
    axis = "log SNR"

    def build(self) -> PassObserver:
        """See `ablate_zoo.probe._pass`."""
        from ablate_zoo.probe import _pass

        return _pass.LossByLevel()

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """The mean of the last observation's `loss`."""
        values = [row["value"] for row in rows if row["site"] == "loss" and row["images"] == rows[-1]["images"]]
        return None if not values or None in values else sum(values) / len(values)
