"""PED-ANOVA's measure of a path, of many samples of candidates at once: how the choices of some differ from all's.

A path is a row of cells: its labels, or a grid over its range. The choices of candidates are smoothed over the cells
(Parzen estimators with Scott's rule, and a uniform prior of one candidate's weight), and the Pearson divergence of
the smoothed two is the measure. Watanabe et al. 2023, https://arxiv.org/abs/2304.10255, as Optuna computes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS = 50  # cells of a range at the most
NARROWEST = 0.5 / 1.64  # of a kernel, in cells: nine tenths of it lie in its own
ABOVE_ZERO = 1e-12


class Labels(NamedTuple):
    """The labels of a path, a cell each."""

    labels: tuple[str, ...]

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.labels)

    def place(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """Return the cell (k,) of each label."""
        cell_of = {label: i for i, label in enumerate(self.labels)}
        return np.array([cell_of[label] for label in labels], dtype=np.int64)

    def densities(self, counts: Array) -> Array:
        """Smooth the candidates (R, cells) that are in each cell: a kernel a label that occurs, and the prior."""
        total = counts.sum(axis=1, keepdims=True)
        kernels = (counts > 0).sum(axis=1, keepdims=True) + 1
        own = (total / kernels + counts) / (self.cells / kernels + 1)
        return np.asarray((own + 1 / self.cells) / (total + 1))


class Range(NamedTuple):
    """A range of numbers, from low to high; whole ones, a step apart, or on a logarithmic scale."""

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    @classmethod
    def of(cls, limits: Any) -> Range:
        """Make it from {low, high, log, step}; its end is the last number a whole count of steps away."""
        low, high, log, step = (limits.get(key) for key in ("low", "high", "log", "step"))
        whole = isinstance(low, int) and isinstance(high, int)
        step = int(step or 1) if whole else step
        if step is not None:
            start, width = Decimal(str(low)), Decimal(str(step))
            high = (Decimal(str(high)) - start) // width * width + start
        return cls(float(str(low)), float(high), bool(log), None if step is None else float(step), whole)

    @property
    def cells(self) -> int:
        """How many cells there are: one where the range is a single number."""
        width = self.high - self.low
        if width <= 0:
            return 1
        if self.whole and self.log:
            return min(math.ceil(math.log(width + 1) / math.log(2)) + 1, STEPS)
        return STEPS if self.step is None else min(round(width / self.step) + 1, STEPS)

    def place(self, numbers: Sequence[float]) -> NDArray[np.int64]:
        """Return the cell (k,) of each number; what lies outside, as a base's own may, is at the end."""
        values = np.clip(np.array(numbers, dtype=float), self.low, self.high)
        values = np.trunc(values) if self.whole else values
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        steps = ((np.log(values) if self.log else values) - low) / ((high - low) / max(self.cells - 1, 1))
        cells = np.clip(np.ceil(steps - 0.5), 0, self.cells - 1)  # half way belongs to the lower
        return np.asarray(cells, dtype=np.int64)

    def densities(self, counts: Array) -> Array:
        """Smooth the candidates (R, cells) that are in each cell: a kernel each, as wide as Scott's rule says."""
        total = counts.sum(axis=1)
        centres = np.arange(self.cells, dtype=float)
        width = np.maximum(_scott(counts, centres, total), NARROWEST)
        kernels = _masses(centres, width, self.cells)  # (R, cells of the kernel, cells)
        prior = _masses(np.array([(self.cells - 1) / 2]), np.array([float(self.cells)]), self.cells)[0]
        return np.asarray(((counts[:, :, None] * kernels).sum(axis=1) + prior) / (total[:, None] + 1))


def _scott(counts: Array, centres: Array, total: Array) -> Array:
    """Return Scott's width (R,) for candidates in cells: the smaller of deviation and quartiles' distance counts."""
    mean = (counts * centres).sum(axis=1) / total
    squares = (counts * (centres - mean[:, None]) ** 2).sum(axis=1)
    deviation = np.sqrt(squares / np.maximum(total - 1, 1))
    until = np.cumsum(counts, axis=1)
    first = (until >= np.maximum(total // 4, 1)[:, None]).argmax(axis=1)
    third = (until > (total * 3 // 4)[:, None]).argmax(axis=1)
    return np.asarray(1.059 * np.minimum((third - first) / 1.34, deviation) * total**-0.2)


def _masses(centres: Array, width: Array, cells: int) -> Array:
    """Return (R, M, cells): of normal kernels at M centres, (R,) wide, what falls into each cell of all cells."""
    from scipy.special import ndtr

    edges = np.arange(cells + 1) - 0.5
    z = (edges - centres[:, None]) / width[:, None, None]
    below, above = ndtr(z), ndtr(-z)
    left = z[..., :-1] <= 0  # in the right tail the differences are taken from above, where they are exact
    masses = np.where(left, below[..., 1:] - below[..., :-1], above[..., :-1] - above[..., 1:])
    whole = 1 - below[..., :1] - above[..., -1:]
    return np.asarray(masses / whole)


def measure(space: Labels | Range, cells: NDArray[np.int64], chosen: NDArray[np.bool_], of: NDArray[np.bool_]) -> Array:
    """Return how much a path tells those chosen from all, (R,): the Pearson divergence, where the path exists.

    cells: (k,) where each candidate lies, -1 where it has no such path. of: (R, k) the candidates of each sample.
    chosen: (R, k) those of them that are good.
    """
    active, n = cells >= 0, space.cells
    place = np.zeros((len(cells), n))
    place[np.flatnonzero(active), cells[active]] = 1
    top, whole = chosen @ place, of @ place
    n_top, n_whole = top.sum(axis=1), whole.sum(axis=1)
    found = np.zeros(len(chosen))
    told = (n_whole >= 2) & (n_top > 0)
    if n < 2 or not told.any():
        return found
    top_density = space.densities(top[told]) + ABOVE_ZERO
    density = space.densities(whole[told]) + ABOVE_ZERO
    divergence = (density * (top_density / density - 1) ** 2).sum(axis=1)
    share_top, share = n_top / chosen.sum(axis=1), n_whole / of.sum(axis=1)
    found[told] = share_top[told] ** 2 / share[told] * divergence
    return found
