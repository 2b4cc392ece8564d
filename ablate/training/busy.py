"""The share of time in which a GPU computes, from a few steps of a training under torch's profiler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from ablate.training.step_profile import union

FIRST, STEPS = 20, 5  # steps before the look; steps that are looked at


class BusyGauge:
    """Looks at a few steps of a training; `share` is None before that, and where the device does not tell.

    On a CPU nothing is looked at: what its operators take is no share of anything that could be idle.
    """

    def __init__(self, device: torch.device) -> None:
        self.share: float | None = None
        self._device = device
        self._steps = 0
        self._profiler: Any = None

    def before_step(self) -> None:
        """Count a step that is about to be taken."""
        if self._device.type != "cuda":
            return
        if self._steps == FIRST:
            self._begin()
        elif self._steps == FIRST + STEPS:
            self._end()
        self._steps += 1

    def _begin(self) -> None:
        try:
            torch.cuda.synchronize(self._device)
            self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            self._profiler.start()
        except RuntimeError:  # somebody else profiles
            self._profiler = None

    def _end(self) -> None:
        if self._profiler is None:
            return
        try:
            torch.cuda.synchronize(self._device)
            self._profiler.stop()
            spans = [
                (event.time_range.start, event.time_range.end)
                for event in self._profiler.events()
                if event.device_type.name == "CUDA"
            ]
            self.share = busy_share(spans)
        except RuntimeError:
            self.share = None
        self._profiler = None


def busy_share(spans: Iterable[tuple[float, float]]) -> float | None:
    """Return which share of the time from the first to the last of these spans they cover; None without a span."""
    known = sorted(spans)
    length = max((end for _, end in known), default=0.0) - (known[0][0] if known else 0.0)
    return union(known) / length if length > 0 else None
