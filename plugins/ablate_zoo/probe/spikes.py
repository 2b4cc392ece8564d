"""probe `spikes`: sudden jumps of the loss or the gradient, which unstable training shows before it diverges."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from ablate.api import HistoryObserver, Probe, Range

QUANTITIES = ("loss", "gradient_norm")


class Spikes(Probe):
    """Steps at which the loss, or the gradient's norm before clipping, exceeds `factor` times its running median.

    The median is over the last `window` steps before, and there have to be a fifth of them. Every step is
    looked at, whatever `every` says. Steps in a row above it are one spike, told at its first step: the site is
    `loss` or `gradient_norm`, the value how many times the median it is. A norm that is not finite, as loss
    scaling skips it, does not count; nor does a loss whose median is not above zero, as terms below zero make it. Its
    summary is the number of spikes in both.
    """

    name = "spikes"

    factor: Annotated[float, Field(gt=1, le=1e6), Range(2.0, 10.0, log=True)] = 3.0
    window: Annotated[int, Field(ge=5, le=10_000)] = 100  # steps

    def build(self) -> HistoryObserver:
        """A running median of each of the two."""
        return _Spikes(self.factor, self.window)

    def summary(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """How many there were; 0 where there was none."""
        return float(len(rows))


class _Spikes(HistoryObserver):
    def __init__(self, factor: float, window: int) -> None:
        self._watched = {name: _Jumps(factor, window) for name in QUANTITIES}

    def step(self, loss: float, norm: float) -> Sequence[tuple[str, float]]:
        ratios = [(name, self._watched[name].add(value)) for name, value in zip(QUANTITIES, (loss, norm), strict=True)]
        return [(name, ratio) for name, ratio in ratios if ratio is not None]

    def state(self) -> Any:
        return {name: [list(one.recent), one.above] for name, one in self._watched.items()}

    def load(self, state: Any) -> None:
        for name, (recent, above) in state.items():
            self._watched[name].recall(recent, above)


class _Jumps:
    """One number a step against the median of those before it."""

    def __init__(self, factor: float, window: int) -> None:
        self.factor = factor
        self.window = window
        self.recall([], False)

    def recall(self, recent: Sequence[float], above: bool) -> None:
        self.recent = deque(recent)  # in the order of steps
        self.ordered = sorted(recent)
        self.above = above  # whether the last step was a spike

    def add(self, value: float) -> float | None:
        """How many times the median a spike is that begins here; None where none does."""
        if not math.isfinite(value):
            return None
        ratio = self._ratio(value)
        begins, self.above = ratio > self.factor and not self.above, ratio > self.factor
        self.recent.append(value)
        insort(self.ordered, value)
        if len(self.recent) > self.window:
            del self.ordered[bisect_left(self.ordered, self.recent.popleft())]
        return ratio if begins else None

    def _ratio(self, value: float) -> float:
        count, half = len(self.ordered), len(self.ordered) // 2
        if count < self.window / 5:
            return 0.0
        median = self.ordered[half] if count % 2 else (self.ordered[half - 1] + self.ordered[half]) / 2
        return value / median if median > 0 else 0.0
