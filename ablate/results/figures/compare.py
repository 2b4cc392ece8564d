"""Figure: the fronts of two studies, with the bands in which they lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.errors import Argument, InputError, did_you_mean
from ablate.results.figures import METADATA, style
from ablate.results.figures.leading import name
from ablate.results.figures.place import Box, place
from ablate.results.fronts.attainment import LEVELS, attainment
from ablate.results.fronts.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis

LOOKS = ((style.COLOURS[0], "o"), (style.COLOURS[1], "D"))
GAP = 12  # pixels between a point and its name
MOST = 16  # points that have a name


def write(first: StudyAnalysis, second: StudyAnalysis, found: Comparison, file: Path) -> None:
    """Draw the first two objectives of both fronts into a file. Raises InputError for another format."""
    from matplotlib.figure import Figure

    from ablate.io.files import write_with

    kind = file.suffix.removeprefix(".")
    if kind not in METADATA:
        raise InputError(f"there is no format {kind!r}{did_you_mean(kind, METADATA)}", Argument("figure"))
    with style.theme():
        figure = Figure(figsize=(8.2, 5.4))
        axes = figure.add_subplot()
        figure.subplots_adjust(left=0.11, right=0.97, bottom=0.12, top=0.86)
        _draw(axes, (first, second), found)
        options: dict[str, Any] = {"format": kind, "metadata": METADATA[kind], "bbox_inches": style.drawn_area(figure)}
        write_with(file, lambda path: figure.savefig(path, **options))


def _draw(axes: Axes, studies: tuple[StudyAnalysis, StudyAnalysis], found: Comparison) -> None:
    goals = [studies[0].objective(column) for column in found.objectives[:2]]
    goals.sort(key=lambda goal: goal.is_cost)
    quality, cost = goals
    points = found.table
    _scales(axes, points, quality, cost)
    banded = False
    for study, study_name, (colour, mark) in zip(studies, found.names, LOOKS, strict=True):
        own = points[points["study"] == study_name].sort_values(cost.column, ascending=cost.sign > 0)
        banded |= _band(axes, study, quality, cost, colour)
        x, y = own[cost.column].to_numpy(dtype=float), own[quality.column].to_numpy(dtype=float)
        xs = np.concatenate([x, [axes.get_xlim()[1]]])
        axes.step(xs, np.concatenate([y, y[-1:]]), where="post", color=colour, linewidth=1.3, zorder=2)
        on = own["on_joint_front"].to_numpy(dtype=bool)
        axes.scatter(x[on], y[on], s=48, marker=mark, color=colour, edgecolor="white", label=study_name, zorder=3)
        axes.scatter(x[~on], y[~on], s=40, marker=mark, facecolor="white", edgecolor=colour, zorder=3)
    _names(axes, points, quality, cost, found.names)
    axes.set_xlabel(style.axis_label(cost))
    axes.set_ylabel(style.axis_label(quality))
    axes.legend(frameon=False, fontsize=9)
    note = "filled: on the front of both" + ("; band: where a front lies with 95 %" if banded else "")
    style.title(axes, f"{found.names[0]} and {found.names[1]}", note)
    style.finish(axes)


def _scales(axes: Axes, points: pd.DataFrame, quality: Objective, cost: Objective) -> None:
    for which, goal in (("x", cost), ("y", quality)):
        values = points[goal.column].to_numpy(dtype=float)
        low, high = float(values.min()), float(values.max())
        if low > 0 and high / low > (10 if which == "x" else 3):
            style.logarithmic(axes, which, low, high)  # type: ignore[arg-type]
            ends = (low / (high / low) ** 0.12, high * (high / low) ** 0.12)
        else:
            room = 0.14 * (high - low) or 0.1 * abs(high) or 1.0
            ends = (low - room, high + room)
        (axes.set_xlim if which == "x" else axes.set_ylim)(*ends)


def _band(axes: Axes, study: StudyAnalysis, quality: Objective, cost: Objective, colour: str) -> bool:
    """Shade where a study's front lies with 95 %; return whether that is known."""
    try:
        surfaces = attainment(study, [quality.column, cost.column], (LEVELS[0], LEVELS[-1]))
    except InputError:
        return False
    x = np.unique(surfaces[cost.column].to_numpy(dtype=float))
    x = np.concatenate([x, [axes.get_xlim()[1]]])
    worst = axes.get_ylim()[0 if quality.larger_is_better else 1]
    ends = []
    for _, corners in surfaces.groupby("level", observed=True):
        corners = corners.sort_values(cost.column)
        at = np.searchsorted(corners[cost.column].to_numpy(dtype=float), x, side="right") - 1
        reached = corners[quality.column].to_numpy(dtype=float)[np.maximum(at, 0)]
        ends.append(np.where(at < 0, worst, reached))
    axes.fill_between(x, ends[0], ends[1], step="post", color=colour, alpha=0.16, linewidth=0, zorder=1)
    return True


def _names(axes: Axes, points: pd.DataFrame, quality: Objective, cost: Objective, names: tuple[str, str]) -> None:
    """Write each point's name beside it, over no other; of many those that are on the front of both first."""
    from matplotlib.patheffects import withStroke

    shown = points.head(MOST)
    colours = [LOOKS[names.index(study)][0] for study in shown["study"]]
    places = axes.transData.transform(shown[[cost.column, quality.column]].to_numpy(dtype=float))
    at = shown[[cost.column, quality.column]].to_numpy(dtype=float).tolist()
    halo = [withStroke(linewidth=2.5, foreground="white")]  # over the lines of both fronts
    texts = [
        axes.text(x, y, name(str(label)), fontsize=7.5, color=colour, path_effects=halo, zorder=4)
        for (x, y), label, colour in zip(at, shown["candidate"], colours, strict=True)
    ]
    extents = [text.get_window_extent() for text in texts]
    frame = axes.get_window_extent()
    area = Box(frame.x0 + 3, frame.y0 + 3, frame.x1 + 10, frame.y1 - 3)
    boxes = place(places, [(extent.width, extent.height) for extent in extents], area)
    for text, box in zip(texts, boxes, strict=True):
        text.set_position(tuple(axes.transData.inverted().transform((box.x0, box.y0))))
        text.set_verticalalignment("bottom")
