"""Figure: iso-FLOP curves, quality against size at several computes of training, and the best size for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.isoflops import FEWEST, IsoFlops, isoflops_of
from ablate.results.numbers import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis

LABELS = {"params": "parameters", "gflops": "Gflops (forward, one image)"}


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the curves, and where there are two optima or more, these against the compute; None without curves."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None or goal.is_recorded:
        return None
    try:
        found = isoflops_of(results, goal, "params")
    except InputError:
        return None
    several = int(found.optima["size"].notna().sum()) > 1
    figure = Figure(figsize=(11.0 if several else 6.6, 4.6))
    panels = figure.subplots(1, 1 + several, squeeze=False)[0]
    figure.subplots_adjust(left=0.08 if several else 0.13, right=0.97, bottom=0.13, top=0.8, wspace=0.24)
    _curves(panels[0], found)
    panels[0].set_ylabel(style.axis_label(goal))
    note = "a line a compute of training: parabola through the sizes; star: its minimum"
    style.title(panels[0], "Iso-FLOP curves", note)
    if several:
        _optima(panels[1], found)
        interval = "" if math.isnan(found.low) else f" ({found.low:.2f} to {found.high:.2f})"
        bar = "bar: 95 %, seeds drawn with replacement" if found.optima["low"].notna().any() else "one seed each"
        style.title(panels[1], "Best size for a compute", f"size ∝ compute^{found.exponent:.2f}{interval}; {bar}")
    return figure


def _curves(axes: Axes, found: IsoFlops) -> None:
    from matplotlib import colormaps

    computes = list(found.optima["compute"])
    shades = colormaps["viridis"](np.linspace(0.05, 0.85, len(computes)))
    positive = bool((found.points["quality"] > 0).all())
    for compute, colour in zip(computes, shades, strict=True):
        own = found.points[found.points["compute"] == compute]
        x, y = own["size"].to_numpy(dtype=float), own["quality"].to_numpy(dtype=float)
        axes.plot(x, y, "o", color=colour, markersize=5, label=number(float(compute), 3))
        if len(x) >= FEWEST:
            grid = np.geomspace(x.min(), x.max(), 60)
            scaled = np.log(y) if positive else y
            line = np.polyval(np.polyfit(np.log(x), scaled, 2), np.log(grid))
            axes.plot(grid, np.exp(line) if positive else line, color=colour, linewidth=1.2)
    told = found.optima.dropna(subset=["size"])
    axes.plot(told["size"], told["quality"], "*", color=style.INK, markersize=10, zorder=4)
    sizes = found.points["size"]
    style.logarithmic(axes, "x", float(sizes.min()), float(sizes.max()))
    values = found.points["quality"]
    if positive and values.max() / values.min() > 3:
        style.logarithmic(axes, "y", float(values.min()), float(values.max()))
    _counts(axes, "x")
    axes.set_xlabel(LABELS[found.size])
    axes.legend(title="training Gflops", fontsize=7.5, title_fontsize=7.5, frameon=False)
    style.finish(axes)


def _optima(axes: Axes, found: IsoFlops) -> None:
    told = found.optima.dropna(subset=["size"])
    x, y = told["compute"].to_numpy(dtype=float), told["size"].to_numpy(dtype=float)
    low, high = told["low"].to_numpy(dtype=float), told["high"].to_numpy(dtype=float)
    sizes = found.points["size"]
    ends = float(sizes.min()), float(sizes.max())
    known = np.isfinite(low)
    axes.vlines(x[known], np.maximum(low[known], ends[0]), np.minimum(high[known], ends[1]), color=style.COLOURS[0])
    axes.plot(x, y, "*", color=style.INK, markersize=10)
    if not math.isnan(found.exponent):
        line = np.polyfit(np.log(x), np.log(y), 1)
        axes.plot(x, np.exp(np.polyval(line, np.log(x))), color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
    style.logarithmic(axes, "x", float(x.min()), float(x.max()))
    style.logarithmic(axes, "y", *ends)
    axes.set_ylim(ends[0] / 1.15, ends[1] * 1.15)
    _counts(axes, "y")
    axes.set_xlabel("training Gflops (forward and backward)")
    axes.set_ylabel(LABELS[found.size])
    style.finish(axes)


def _counts(axes: Axes, which: str) -> None:
    """Write large numbers as 675 M."""
    from matplotlib.ticker import FuncFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: count(value) if value >= 1000 else f"{value:g}"))
