"""Figure: the scaling law, quality against Gflops over sizes, beside the published sizes of DiT."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.figures.leading import leading, name
from ablate.results.figures.place import Box, place
from ablate.results.scaling import Scaling, literature

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the study's candidates with their fit, and DiT's published sizes; None where no law can be fitted."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None or goal.is_recorded:
        return None
    try:
        fit = results.scaling(goal.column)
    except InputError:
        return None
    figure = Figure(figsize=(11.0, 4.8))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.97, bottom=0.13, top=0.8, wspace=0.24)
    coloured = leading(results)
    colours = {c.label: style.look(c).colour for c in coloured}
    _panel(left, fit, colours, {c.label for c in coloured})
    left.set_ylabel(style.axis_label(goal))
    style.title(left, "This study", _note(fit))
    literature_fit = literature()
    _panel(right, literature_fit, {}, set(literature_fit.points["label"]))
    right.set_ylabel("FID-50K   (lower is better)")
    style.title(right, "DiT on ImageNet 256 (Peebles & Xie 2023)", _note(literature_fit))
    return figure


def _panel(axes: Axes, fit: Scaling, colours: dict[str, str], labelled: set[str]) -> None:
    points = fit.points
    low, high = float(points["cost"].min()), float(points["cost"].max())
    colour_of = points["label"].map(lambda label: colours.get(label, style.MUTED))
    for colour, own in points.groupby(colour_of, sort=False, observed=True):
        axes.plot(own["cost"], own["quality"], "o", color=colour, markersize=6)
    line = np.empty((0, 2))
    if not math.isnan(fit.exponent):
        grid = np.geomspace(low, high, 50)
        line = np.column_stack([grid, fit.law(grid)])
        for _, other in fit.leave_one_out.dropna(subset=["exponent"]).iterrows():
            factor = (other["predicted"] - other["floor"]) / other["cost"] ** other["exponent"]
            axes.plot(
                grid, factor * grid ** other["exponent"] + other["floor"], color=style.FAINT, linewidth=0.8, zorder=1
            )
        axes.plot(*line.T, color=style.INK, linewidth=1.0, linestyle=(0, (4, 2)))
        style.logarithmic(axes, "y", float(points["quality"].min()), float(points["quality"].max()))
    axes.set_xlim(low / 1.4, high * 1.8)
    style.logarithmic(axes, "x", low, high)
    axes.set_xlabel("Gflops (forward, one image)")
    style.finish(axes)
    _names(axes, points[points["label"].isin(labelled)], colours, line)


def _names(axes: Axes, points: pd.DataFrame, colours: dict[str, str], line: NDArray[np.float64]) -> None:
    """Write each point's name beside it, so that none covers another, nor, if there is room, the line (N, 2)."""
    places = axes.transData.transform(points[["cost", "quality"]].to_numpy(dtype=float))
    texts = [
        axes.text(1.0, 1.0, name(str(label)), fontsize=8, color=colours.get(str(label), style.MUTED))
        for label in points["label"]
    ]
    extents = [text.get_window_extent() for text in texts]
    frame = axes.get_window_extent()
    area = Box(frame.x0 + 3, frame.y0 + 3, frame.x1 + 10, frame.y1 - 3)
    corners = axes.transData.transform(line) if len(line) else line
    obstacles = [Box(*np.minimum(a, b), *np.maximum(a, b)) for a, b in pairwise(corners)]
    boxes = place(places, [(extent.width, extent.height) for extent in extents], area, obstacles)
    for text, box in zip(texts, boxes, strict=True):
        text.set_position(tuple(axes.transData.inverted().transform((box.x0, box.y0))))
        text.set_verticalalignment("bottom")


def _note(fit: Scaling) -> str:
    """Describe the fit below a panel's title, in lines that are no wider than the panel."""
    interval = f"({fit.correlation_low:.2f} to {fit.correlation_high:.2f})"
    told = f"correlation with log Gflops {fit.correlation:.3f} {interval}, {fit.n} sizes"
    if math.isnan(fit.exponent):
        return told
    return f"{told}\ndashed: Gflops^{fit.exponent:.2f} above a floor; grey: without one size each"
