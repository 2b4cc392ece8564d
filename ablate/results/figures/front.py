"""Figure: quality against cost, every candidate with its seeds, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.candidates.objectives import Objective
from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.figures.leading import GREY, colour_note, leading, name
from ablate.results.figures.place import Box, place
from ablate.results.front import WITHOUT_VALUE
from ablate.results.fronts.attainment import LEVELS, attainment
from ablate.results.measurements import values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

APART, REACH = 13, 160  # pixels between candidates of one cost, and over how many they may spread
NAMED = 12  # beyond so many candidates the points carry numbers, and the names stand beside
GAP = 13  # pixels between a point and its name


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the study's quality against its cost (Gflops, unless it names another); None without a metric.

    Candidates without a value stand as crosses on the edge where the worst would be. Of many the leading ones have
    a colour and a name.
    """
    from matplotlib.figure import Figure

    quality = results.quality
    if quality is None or not results.candidates:
        return None
    cost = next((o for o in results.objectives() if o.is_cost), Objective("gflops", "gflops"))
    table = results.front([quality.column, cost.column]).set_index("config_hash")
    stopped = (table["n"] == 0) & (table["paused"] > 0) & (table["diverged"] == 0)  # they would stand as the worst
    table = table[~stopped] if (table["n"] > 0).any() else table
    seeds, _ = values(results.trials, results.metrics, [quality, cost])
    seeds = seeds[seeds["state"] == "complete"].dropna(subset=[quality.column, cost.column])
    figure = Figure(figsize=(8.2, 5.4))
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.11, right=0.97, bottom=0.12, top=0.86)
    _scale(axes, table, seeds, quality, cost)
    banded = _band(axes, results, quality, cost)
    stairs = _staircase(axes, table[table["on_front"]], quality, cost)
    priced = table[np.isfinite(table[cost.column].astype(float))]  # of the others nothing is known yet
    coloured = [c for c in leading(results) if c.config_hash in priced.index]
    is_coloured = priced.index.isin([c.config_hash for c in coloured])
    row_of = {str(config_hash): row for config_hash, row in priced[is_coloured].iterrows()}
    rows = {c.config_hash: row_of[c.config_hash] for c in coloured}
    others = priced[~is_coloured]
    x, y, size = others[cost.column], others[quality.column].astype(float), style.dot(12, len(others))
    axes.scatter(x, y, s=size, color=GREY, linewidth=0, zorder=1.8)
    seeds = seeds[seeds["config_hash"].isin(list(rows))]
    lanes = _lanes(axes, rows, seeds, quality, cost)
    marks = [_point(axes, c, rows[c.config_hash], seeds, quality, lanes[c.config_hash]) for c in coloured]
    axes.set_xlabel(style.axis_label(cost))
    axes.set_ylabel(style.axis_label(quality))
    n = int(table["n"].max())
    notes = ["no seed has a value" if n == 0 else f"one seed{'' if banded else ': no spread is known'}"]
    if n > 1:
        notes = [f"mean of {n} seeds (points)", "bar: ± 1 standard deviation"]
    if n:
        band = f"; band: where it lies with 95 %{', by the confirmation' if n == 1 else ''}"
        notes.append("line: the front" + (band if banded else ""))
    if any(x != float(rows[h][cost.column]) for h, x in lanes.items()):
        notes.append("equal costs side by side")
    if n and (table["n"] == 0).any():
        notes.append("cross: no seed has a value")
    if n and stopped.any():
        notes.append(f"{stopped.sum()} paused before the end are not shown")
    subtitle = "\n".join(line for line in ("; ".join(notes), colour_note(results)) if line)
    style.title(axes, results.study.get("question") or results.name, subtitle)
    style.finish(axes)
    if seeds.empty:
        axes.text(0.5, 0.5, "no candidate has a value", transform=axes.transAxes, ha="center", color=style.MUTED)
        axes.set_yticks([])
    dots = others[[cost.column, quality.column]].dropna().to_numpy(dtype=float)
    _labels(figure, axes, coloured, rows, marks, stairs, dots)
    return figure


def _scale(axes: Axes, table: pd.DataFrame, seeds: pd.DataFrame, quality: Objective, cost: Objective) -> None:
    """Set limits that leave room for labels; a logarithmic cost where it spans more than a factor of ten."""
    x = table[cost.column].dropna().to_numpy(dtype=float)
    low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 1.0)
    if low > 0 and high / low > 10:
        style.logarithmic(axes, "x", low, high)
        reach = (high / low) ** 0.12
        axes.set_xlim(low / reach, high * reach)
    else:
        # Costs that are all but equal are shown as such: the axis is never narrower than 10 % of the cost.
        room = max(0.14 * (high - low), 0.05 * abs(high), 1e-9)
        axes.set_xlim(low - room, high + room)
    mean, spread = table[quality.column].astype(float), table[f"{quality.column}.sd"].fillna(0).astype(float)
    y = np.concatenate([mean - spread, mean + spread, seeds[quality.column].to_numpy(dtype=float)])
    y = y[np.isfinite(y)]
    low, high = (float(y.min()), float(y.max())) if len(y) else (0.0, 1.0)
    room = max(0.12 * (high - low), 0.02 * abs(high), 1e-9) if high > low else 0.2 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room * (1 + bool((table["n"] == 0).any())))
    if quality.larger_is_better and (table["n"] == 0).any():
        axes.set_ylim(low - 2 * room, high + room)


def _staircase(axes: Axes, front: pd.DataFrame, quality: Objective, cost: Objective) -> list[list[tuple[float, float]]]:
    """Draw the boundary of the dominated region, and shade the region; return the boundary's segments."""
    if front.empty:
        return []
    front = front.sort_values([cost.column, quality.column], ascending=[True, not quality.larger_is_better])
    x, y = front[cost.column].to_numpy(dtype=float), front[quality.column].to_numpy(dtype=float)
    worst = axes.get_ylim()[0 if quality.larger_is_better else 1]
    xs = np.concatenate([[x[0]], x, [axes.get_xlim()[1]]])
    ys = np.concatenate([[worst], y, [y[-1]]])
    axes.fill_between(xs, ys, worst, step="post", color="#eef2f6", zorder=0, linewidth=0)
    axes.step(xs, ys, where="post", color="#9fb2c4", linewidth=1.4, zorder=1)
    corners = [(xs[0], ys[0])]
    for a, b in zip(xs[1:], ys[1:], strict=True):
        corners += [(float(a), corners[-1][1]), (float(a), float(b))]
    return [list(pair) for pair in pairwise(corners)]


def _band(axes: Axes, results: StudyAnalysis, quality: Objective, cost: Objective) -> bool:
    """Shade where the front lies with 95 % at each cost; return whether that is known."""
    low, high = LEVELS[0], LEVELS[-1]
    try:
        surfaces = attainment(results, [quality.column, cost.column], (low, high))
    except InputError:  # too few seeds, or values that do not compare, which the summary tells
        return False
    worst = axes.get_ylim()[0 if quality.larger_is_better else 1]
    costs = np.unique(surfaces[cost.column].to_numpy(dtype=float))
    costs = np.concatenate([costs, [axes.get_xlim()[1]]])
    ends = []
    for level in (low, high):
        corners = surfaces[surfaces["level"] == level].sort_values(cost.column)
        place = np.searchsorted(corners[cost.column].to_numpy(dtype=float), costs, side="right") - 1
        reached = corners[quality.column].to_numpy(dtype=float)[np.maximum(place, 0)]
        ends.append(np.where(place < 0, worst, reached))
    axes.fill_between(costs, ends[0], ends[1], step="post", color="#c9d7e6", zorder=0.5, linewidth=0)
    return True


def _lanes(
    axes: Axes, rows: Mapping[str, pd.Series[Any]], seeds: pd.DataFrame, quality: Objective, cost: Objective
) -> dict[str, float]:
    """Return {config_hash: x} where each candidate is drawn: at its cost, or pixels beside it to cover no other.

    Candidates that differ in the training alone all cost the same; side by side their seeds can be told apart.
    """
    to_pixels, places = axes.transData, {}
    columns: list[tuple[float, list[list[list[float]]]]] = []
    cost_of = {h: float(row[cost.column]) for h, row in rows.items()}
    worst = axes.get_ylim()[0 if quality.larger_is_better else 1]
    for hash_ in sorted(cost_of, key=lambda h: (cost_of[h], not rows[h]["on_front"])):  # the front stays on its line
        values = seeds.loc[seeds["config_hash"] == hash_, quality.column].to_numpy(dtype=float)
        spread = float(np.nan_to_num(rows[hash_][f"{quality.column}.sd"]))
        extent = [*values, values.mean() - spread, values.mean() + spread] if len(values) else [worst]
        x = float(to_pixels.transform((cost_of[hash_], worst))[0])
        ys = [float(to_pixels.transform((cost_of[hash_], v))[1]) for v in extent]
        if not columns or x - columns[-1][0] > 0.5:
            columns.append((x, []))
        lanes = columns[-1][1]
        lane = next((k for k, drawn in enumerate(lanes) if all(_clear(ys, other) for other in drawn)), len(lanes))
        lanes += [[]] if lane == len(lanes) else []
        lanes[lane].append(ys)
        places[hash_] = (x, lane, lanes)
    shifted = {}
    for hash_, (x, lane, lanes) in places.items():
        shift = (lane + 1) // 2 * (1 if lane % 2 else -1) * min(APART, REACH / len(lanes))  # 0, right, left, right …
        shifted[hash_] = float(to_pixels.inverted().transform((x + shift, 0))[0]) if shift else cost_of[hash_]
    return shifted


def _clear(ys: Sequence[float], others: Sequence[float]) -> bool:
    return min(ys) - 7 > max(others) + 7 or max(ys) + 7 < min(others) - 7


def _point(
    axes: Axes, candidate: CandidateRow, row: pd.Series[Any], seeds: pd.DataFrame, quality: Objective, x: float
) -> tuple[float, float, list[tuple[float, float]]]:
    """Draw one candidate; return its point, and the points that labels must not hide, in data coordinates."""
    look = style.look(candidate)
    y, spread = float(row[quality.column]), float(row[f"{quality.column}.sd"])
    if not np.isfinite(y):
        low, high = axes.get_ylim()
        y = low + 0.03 * (high - low) if quality.larger_is_better else high - 0.03 * (high - low)
        axes.plot(x, y, "x", color=look.colour, markersize=8, markeredgewidth=2, zorder=4)
        return x, y, []
    own_seeds = seeds[seeds["config_hash"] == candidate.config_hash]
    if np.isfinite(spread) and spread > 0:
        ends = [y - spread, y + spread]
        axes.plot([x, x], ends, color=look.colour, alpha=0.3, linewidth=6, solid_capstyle="butt", zorder=2)
    if len(own_seeds) > 1:
        axes.scatter(
            [x] * len(own_seeds), own_seeds[quality.column], s=11, color=look.colour, alpha=0.9, linewidth=0, zorder=3
        )
    axes.scatter(x, y, s=64, marker=look.mark, color=look.colour, edgecolor="white", linewidth=1, zorder=4)
    reach = [y - spread, y + spread] if np.isfinite(spread) else []
    return x, y, [(x, v) for v in (*reach, *own_seeds[quality.column])]


def _labels(
    figure: Figure,
    axes: Axes,
    candidates: Sequence[CandidateRow],
    rows: Mapping[str, pd.Series[Any]],
    marks: Sequence[tuple[float, float, list[tuple[float, float]]]],
    stairs: Sequence[Sequence[tuple[float, float]]],
    dots: NDArray[np.float64],
) -> None:
    """Write each name, or number, beside its point: over no other label or point, the stairs, the dots (N, 2)."""
    renderer = style.renderer(figure)
    names = [_name(c, rows[c.config_hash]) for c in candidates]
    numbered = len(candidates) > NAMED
    texts = [str(c.index + 1) for c in candidates] if numbered else names
    artists = [
        axes.annotate(
            text,
            (x, y),
            xycoords="data",
            fontsize=8 if numbered else 9.5,
            color=style.look(c).colour if rows[c.config_hash]["n"] else style.MUTED,
            fontweight="bold" if rows[c.config_hash]["on_front"] else "normal",
            annotation_clip=False,
            zorder=6,
        )
        for c, text, (x, y, _) in zip(candidates, texts, marks, strict=True)
    ]
    sizes = [(e.width, e.height) for e in (a.get_window_extent(renderer) for a in artists)]
    points = axes.transData.transform([(x, y) for x, y, _ in marks])
    bars = [axes.transData.transform(bar) for bar in (*(bar for _, _, bar in marks if bar), *stairs)]
    grey = axes.transData.transform(dots)
    low, high = (np.array([*(end(bar, axis=0) for bar in bars), *grey]).reshape(-1, 2) for end in (np.min, np.max))
    covered = np.hstack([low - np.array([3, 1]), high + np.array([3, 1])])
    frame = axes.get_window_extent()
    boxes = place(points, sizes, Box(frame.x0 + 3, frame.y0 + 3, frame.x1 + 40, frame.y1 - 3), covered, GAP)
    for artist, box, point in zip(artists, boxes, points, strict=True):
        at_left = box.x1 <= point[0]  # its end is what must not touch the point, at whatever resolution
        artist.set_position(tuple(axes.transData.inverted().transform((box.x1 if at_left else box.x0, box.y0))))
        artist.set_horizontalalignment("right" if at_left else "left")
        artist.set_verticalalignment("bottom")
        end = box.nearest(*point)
        if np.hypot(*np.subtract(end, point)) > 15:
            line = axes.transData.inverted().transform([point, end])
            axes.plot(*line.T, color=style.MUTED, linewidth=0.6, zorder=1.5, clip_on=False)
    if numbered:
        _key(axes, [f"{t}  {n}" for t, n in zip(texts, names, strict=True)], candidates)


def _name(candidate: CandidateRow, row: pd.Series[Any]) -> str:
    text = name(candidate.label)
    text = f"{text} (baseline)" if candidate.baseline and candidate.label != "baseline" else text
    missing = [f"{row[k]} {k}" for k in WITHOUT_VALUE if row[k]]
    return f"{text}, {', '.join(missing)}" if missing else text


def _key(axes: Axes, lines: Sequence[str], candidates: Sequence[CandidateRow]) -> None:
    """Write right of the axes the names that the numbers stand for."""
    for i, (line, candidate) in enumerate(zip(lines, candidates, strict=True)):
        axes.annotate(
            line,
            (1, 1),
            (18, -i * 11.5),
            "axes fraction",
            "offset points",
            fontsize=7.5,
            va="top",
            color=style.look(candidate).colour,
        )
