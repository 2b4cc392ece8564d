"""Places labels beside their points: no two overlap, none hides a point, each is near its own.

Everything is in pixels of the axes, so the same code serves linear and logarithmic scales.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4
ANGLES = (0, 180, 90, 270, 45, 135, 315, 225, 20, 160, 340, 200, 70, 110, 290, 250)  # right and left read best
RADII = (0, 6, 14, 24, 38, 56, 80, 110, 150, 200, 260, 330)


class Box(NamedTuple):
    """A rectangle by its lower left and upper right corner."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0.0) * max(height, 0.0)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the rectangle that is nearest to (x, y)."""
        return min(max(x, self.x0), self.x1), min(max(y, self.y0), self.y1)


def place(
    points: NDArray[np.float64],
    sizes: Sequence[tuple[float, float]],
    area: Box,
    obstacles: Sequence[Box] = (),
    gap: float = 8,
    pad: float = 2,
) -> list[Box]:
    """A rectangle of each (width, height) for each of (N, 2) points, within `area`.

    Greedy, the most crowded points first, then some rounds in which each label looks for a better
    place among the others. Where `area` has no free place left, the labels run on to the right of
    it, in columns, so that they never overlap.
    """
    if len(points) == 0:
        return []
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    crowded = np.argsort(-np.exp(-distances / 60).sum(axis=1), kind="stable")
    placed: dict[int, Box] = {}
    for _ in range(ROUNDS):
        before = dict(placed)
        for i in crowded:
            others = [b for j, b in placed.items() if j != i]
            placed[int(i)] = _best(points, int(i), sizes[i], area, obstacles, others, gap, pad)
        if placed == before:
            break
    return _apart([placed[i] for i in range(len(points))], area, pad)


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Centres near `wanted`, in its order, so that intervals of these heights do not overlap.

    They stay within low … high where they fit; otherwise they start at `low` and run beyond `high`.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    groups: list[list[int]] = []

    def span(group: list[int]) -> tuple[float, float]:
        total = sum(heights[i] for i in group)
        offset, starts = 0.0, []
        for i in group:
            starts.append(wanted[i] - heights[i] / 2 - offset)
            offset += heights[i]
        start = max(min(sum(starts) / len(starts), high - total), low)
        return start, start + total

    for i in order:
        groups.append([i])
        while len(groups) > 1 and span(groups[-2])[1] > span(groups[-1])[0] + 1e-9:
            groups[-2:] = [groups[-2] + groups[-1]]
    centres = [0.0] * len(wanted)
    for group in groups:
        at = span(group)[0]
        for i in group:
            centres[i] = at + heights[i] / 2
            at += heights[i]
    return centres


def _best(
    points: NDArray[np.float64],
    i: int,
    size: tuple[float, float],
    area: Box,
    obstacles: Sequence[Box],
    others: Sequence[Box],
    gap: float,
    pad: float,
) -> Box:
    x, y = points[i]
    best, least = None, math.inf
    for (n, angle), radius in itertools.product(enumerate(ANGLES), RADII):
        box = _beside(x, y, size, math.radians(angle), gap + radius)
        cost = 1.2 * radius + n * 0.8
        if cost >= least:
            continue
        outside = 1 - box.overlap(area) / max(size[0] * size[1], 1e-9)
        wide = Box(box.x0 - pad, box.y0 - pad, box.x1 + pad, box.y1 + pad)
        cost += 1e5 * (outside > 1e-6) * (1 + outside) + sum(1e4 * (wide.overlap(o) > 0) for o in others)
        cost += sum(25 + min(wide.overlap(o), 400) / 8 for o in obstacles if wide.overlap(o) > 0)
        hidden = [(px, py) for px, py in points if wide.x0 - 5 < px < wide.x1 + 5 and wide.y0 - 5 < py < wide.y1 + 5]
        cost += 900 * len(hidden)
        if radius > 6 and cost < least:  # a leader line will be drawn: it should not cross anything
            end = box.nearest(x, y)
            cost += 250 * sum(_crosses((x, y), end, o) for o in others)
            cost += 40 * sum(_near((x, y), end, p) for j, p in enumerate(points) if j != i)
        if cost < least:
            best, least = box, cost
    assert best is not None
    return best


def _beside(x: float, y: float, size: tuple[float, float], angle: float, gap: float) -> Box:
    """A rectangle whose edge is `gap` from (x, y) in the direction of `angle`."""
    width, height = size
    dx, dy = math.cos(angle), math.sin(angle)
    cx = x + dx * gap + np.sign(round(dx, 6)) * width / 2 * min(1.0, abs(dx) * 1.42)
    cy = y + dy * gap + np.sign(round(dy, 6)) * height / 2 * min(1.0, abs(dy) * 1.42)
    return Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)


def _crosses(a: tuple[float, float], b: tuple[float, float], box: Box) -> bool:
    steps = np.linspace(0, 1, 12)
    xs, ys = a[0] + (b[0] - a[0]) * steps, a[1] + (b[1] - a[1]) * steps
    return bool(((xs > box.x0) & (xs < box.x1) & (ys > box.y0) & (ys < box.y1)).any())


def _near(a: tuple[float, float], b: tuple[float, float], point: NDArray[np.float64]) -> bool:
    line = np.subtract(b, a)
    length = float(line @ line)
    t = min(max(float((point - a) @ line) / length, 0.0), 1.0) if length else 0.0
    return math.dist(point, np.asarray(a) + t * line) < 5


def _apart(boxes: list[Box], area: Box, pad: float) -> list[Box]:
    """Move what still overlaps into columns right of everything."""
    kept: list[Box] = []
    x, y, column = max(area.x1, *(b.x1 for b in boxes)) + 12, area.y1, 0.0
    for box in boxes:
        if any(box.overlap(other) > 0 for other in kept):
            width, height = box.x1 - box.x0, box.y1 - box.y0
            if y - height < area.y0:
                x, y, column = x + column + 12, area.y1, 0.0
            kept.append(Box(x, y - height, x + width, y))
            y, column = y - height - pad, max(column, width)
        else:
            kept.append(box)
    return kept
