"""Place labels beside their points: no two overlap, none hides a point, each is near its own.

Everything is in pixels of the axes, so the same code serves linear and logarithmic scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4
ANGLES = (0, 180, 90, 270, 45, 135, 315, 225, 20, 160, 340, 200, 70, 110, 290, 250)  # right and left read best
OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])  # of a rectangle's corners
RADII = (0, 6, 14, 24, 38, 56, 80, 110, 150, 200, 260, 330)


class Box(NamedTuple):
    """A rectangle by its lower left and upper right corner."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0.0) * max(height, 0.0)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the point of the rectangle that is nearest to (x, y)."""
        return min(max(x, self.x0), self.x1), min(max(y, self.y0), self.y1)


def place(
    points: NDArray[np.float64],
    sizes: Sequence[tuple[float, float]],
    area: Box,
    obstacles: Sequence[Box] | NDArray[np.float64] = (),
    gap: float = 10,
    pad: float = 2,
) -> list[Box]:
    """Choose a rectangle of each (width, height) for each of (N, 2) points, within `area`, off obstacles (M, 4).

    Greedy, the most crowded points first, then some rounds in which each label looks for a better
    place among the others. Where `area` has no free place left, the labels run on to the right of
    it, in columns, so that they never overlap.
    """
    if len(points) == 0:
        return []
    spots = [_around(x, y, size, gap) for (x, y), size in zip(points, sizes, strict=True)]
    blocked = np.array(obstacles, dtype=float).reshape(-1, 4)
    covered = [_on_obstacles(boxes + pad * OUTWARD, blocked) for boxes, _, _ in spots]
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    crowded = np.argsort(-np.exp(-distances / 60).sum(axis=1), kind="stable")
    placed: dict[int, Box] = {}
    for _ in range(ROUNDS):
        before = dict(placed)
        for i in crowded:
            others = [b for j, b in placed.items() if j != i]
            placed[int(i)] = _best(points, int(i), sizes[i], area, spots[i], covered[i], others, pad)
        if placed == before:
            break
    return _apart([placed[i] for i in range(len(points))], area, pad)


def spread(targets: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Return centres near `targets`, in their order, so that intervals of these heights do not overlap.

    They stay within low … high where they fit; otherwise they start at `low` and run beyond `high`.
    """
    order = sorted(range(len(targets)), key=lambda i: (targets[i], i))
    groups: list[list[int]] = []

    def span(group: list[int]) -> tuple[float, float]:
        total = sum(heights[i] for i in group)
        offset, starts = 0.0, []
        for i in group:
            starts.append(targets[i] - heights[i] / 2 - offset)
            offset += heights[i]
        start = max(min(sum(starts) / len(starts), high - total), low)
        return start, start + total

    for i in order:
        groups.append([i])
        while len(groups) > 1 and span(groups[-2])[1] > span(groups[-1])[0] + 1e-9:
            groups[-2:] = [groups[-2] + groups[-1]]
    centres = [0.0] * len(targets)
    for group in groups:
        bottom = span(group)[0]
        for i in group:
            centres[i] = bottom + heights[i] / 2
            bottom += heights[i]
    return centres


def _best(
    points: NDArray[np.float64],
    i: int,
    size: tuple[float, float],
    area: Box,
    spots: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    covered: NDArray[np.float64],
    others: Sequence[Box],
    pad: float,
) -> Box:
    x, y = points[i]
    boxes, radii, order = spots
    wide = boxes + pad * OUTWARD
    inside = _overlaps(boxes, np.array([area]))[:, 0] / max(size[0] * size[1], 1e-9)
    boxes_placed = np.array(others).reshape(-1, 4)
    px, py = points[:, 0], points[:, 1]
    near = (wide[:, [0]] - 5 < px) & (px < wide[:, [2]] + 5) & (wide[:, [1]] - 5 < py) & (py < wide[:, [3]] + 5)
    cost = 1.2 * radii + 0.8 * order
    cost += 1e5 * (inside < 1 - 1e-6) * (2 - inside)
    cost += 1e4 * (_overlaps(wide, boxes_placed) > 0).sum(axis=1)
    cost += covered
    cost += 900 * near.sum(axis=1)
    other_points = np.delete(points, i, axis=0)
    best, least = 0, math.inf
    for k in np.argsort(cost, kind="stable"):
        if cost[k] >= least:
            break
        total = float(cost[k])
        if radii[k] > 6:  # a leader line will be drawn: it should not cross anything
            end = Box(*boxes[k]).nearest(x, y)
            total += 250 * _crossed((x, y), end, boxes_placed) + 40 * _touched((x, y), end, other_points)
        if total < least:
            best, least = int(k), total
    return Box(*(float(v) for v in boxes[best]))


def _around(
    x: float, y: float, size: tuple[float, float], gap: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return rectangles (K, 4) in every direction and distance, their distance (K,) and rank of direction (K,)."""
    angles, radii = np.meshgrid(np.radians(ANGLES), np.array(RADII, dtype=float), indexing="ij")
    order = np.broadcast_to(np.arange(len(ANGLES), dtype=float)[:, None], angles.shape)
    half = np.array(size) / 2
    step = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(-1, 2).round(6)
    edge = np.sign(step) * half * np.minimum(1.0, np.abs(step) * 1.42)
    centre = np.array([x, y]) + step * (gap + radii.reshape(-1, 1)) + edge
    return np.hstack([centre - half, centre + half]), radii.ravel(), order.ravel()


def _on_obstacles(boxes: NDArray[np.float64], obstacles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (K,) what it costs that each rectangle lies on some of (M, 4) obstacles."""
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    near = (obstacles[:, 2] > x0) & (obstacles[:, 0] < x1) & (obstacles[:, 3] > y0) & (obstacles[:, 1] < y1)
    shared = _overlaps(boxes, obstacles[near])
    return np.asarray(((shared > 0) * 25 + np.minimum(shared, 400) / 8).sum(axis=1))


def _overlaps(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (K, M) the area that each of (K, 4) rectangles shares with each of (M, 4) others."""
    width = np.minimum(boxes[:, [2]], others[:, 2]) - np.maximum(boxes[:, [0]], others[:, 0])
    height = np.minimum(boxes[:, [3]], others[:, 3]) - np.maximum(boxes[:, [1]], others[:, 1])
    return np.asarray(np.clip(width, 0, None) * np.clip(height, 0, None))


def _crossed(a: tuple[float, float], b: tuple[float, float], boxes: NDArray[np.float64]) -> int:
    """Count how many of (M, 4) rectangles the line from a to b runs through."""
    x, y = (np.linspace(a[k], b[k], 12)[:, None] for k in (0, 1))
    return int(((x > boxes[:, 0]) & (x < boxes[:, 2]) & (y > boxes[:, 1]) & (y < boxes[:, 3])).any(axis=0).sum())


def _touched(a: tuple[float, float], b: tuple[float, float], points: NDArray[np.float64]) -> int:
    """Count how many of (N, 2) points are within five pixels of the line from a to b."""
    line = np.subtract(b, a)
    length = float(line @ line)
    along = np.clip((points - a) @ line / length, 0, 1) if length else np.zeros(len(points))
    return int((np.hypot(*(points - a - along[:, None] * line).T) < 5).sum())


def _apart(boxes: list[Box], area: Box, pad: float) -> list[Box]:
    """Move what still overlaps into columns right of everything."""
    placed: list[Box] = []
    x, y, column = max(area.x1, *(b.x1 for b in boxes)) + 12, area.y1, 0.0
    for box in boxes:
        if any(box.overlap(other) > 0 for other in placed):
            width, height = box.x1 - box.x0, box.y1 - box.y0
            if y - height < area.y0:
                x, y, column = x + column + 12, area.y1, 0.0
            placed.append(Box(x, y - height, x + width, y))
            y, column = y - height - pad, max(column, width)
        else:
            placed.append(box)
    return placed
