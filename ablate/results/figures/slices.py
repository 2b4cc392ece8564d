"""Figure: slices through a space, the quality of all candidates against each of their choices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.errors import InputError
from ablate.io.text import shortened
from ablate.results.figures import style
from ablate.results.figures.leading import name
from ablate.results.searches.marginals import marginals, slices
from ablate.results.searches.space import several_factors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis

FEWEST = 8  # candidates
ACROSS = 3  # panels in a row
MOST = 12  # panels
LABEL = 14  # signs of a choice below a panel
SHIFT = 0.18  # by how far points of one choice lie apart


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw a panel for each choice that varies; None without enough candidates that differ in several choices."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None or not several_factors(results.candidates):
        return None
    try:
        points, means = slices(results, goal), marginals(results, goal)
        front = results.front()
    except InputError:
        return None
    if points["config_hash"].nunique() < FEWEST:
        return None
    paths = list(points["path"].unique())[:MOST]
    rows = math.ceil(len(paths) / ACROSS)
    across = min(len(paths), ACROSS)
    figure = Figure(figsize=(0.9 + 3.5 * across, 1.1 + 2.9 * rows))
    height = figure.get_figheight()
    panels = figure.subplots(rows, across, sharey=True, squeeze=False).ravel()
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.75 / height, top=1 - 1.0 / height, hspace=0.5, wspace=0.08)
    members = set(front.loc[front["on_front"], "config_hash"])
    for axes, path in zip(panels, paths, strict=False):
        _panel(axes, path, points[points["path"] == path], means[means["path"] == path], members)
    for axes in panels[len(paths) :]:
        axes.set_visible(False)
    for axes in panels[::across]:
        axes.set_ylabel(style.axis_label(goal))
    _scale(panels[0], points, goal)
    note = "a point a candidate, dark: on the front; line: mean of those with a choice, whatever else they have"
    style.title(panels[0], "Quality by choice", note, up=13)
    return figure


def _scale(axes: Axes, points: pd.DataFrame, goal: Objective) -> None:
    low, high = float(points["value"].min()), float(points["value"].max())
    if low > 0 and high / low > 3:
        style.logarithmic(axes, "y", low, high)


def _panel(axes: Axes, path: str, points: pd.DataFrame, means: pd.DataFrame, members: set[str]) -> None:
    """Draw the candidates at their choices: numbers at their place, words side by side."""
    numbers = points["number"].to_numpy(dtype=float)
    is_axis = bool(np.isfinite(numbers).all()) and points["number"].nunique() > points["choice"].nunique()
    choices = list(dict.fromkeys(points.sort_values("number", kind="stable")["choice"]))
    place = {choice: i for i, choice in enumerate(choices)}
    if is_axis:
        x = numbers
    else:
        order = points.groupby("choice", observed=True).cumcount().to_numpy(dtype=float)
        x = points["choice"].map(place).to_numpy(dtype=float) + SHIFT * (np.modf(order * 0.618034)[0] * 2 - 1)
    on = points["config_hash"].isin(members).to_numpy(dtype=bool)
    dot = style.dot(14, len(points))
    for chosen, colour, size, layer in ((~on, style.COLOURS[5], dot, 2), (on, style.BASELINE, 24, 3)):
        axes.scatter(x[chosen], points["value"].to_numpy()[chosen], s=size, color=colour, linewidth=0, zorder=layer)
    if is_axis:
        low, high = float(numbers.min()), float(numbers.max())
        if low > 0 and high / low > 10:
            style.logarithmic(axes, "x", low, high)
        for choice, own in points.groupby("choice", observed=True):
            mean = float(means.loc[means["choice"] == choice, "mean"].iloc[0])
            axes.plot([own["number"].min(), own["number"].max()], [mean, mean], color=style.COLOURS[1], linewidth=2)
    else:
        for _, row in means.iterrows():
            i = place[row["choice"]]
            axes.plot([i - 0.32, i + 0.32], [row["mean"]] * 2, color=style.COLOURS[1], linewidth=2, zorder=4)
        long = sum(map(len, choices)) > 26
        texts = [shortened(choice, LABEL) for choice in choices]
        axes.set_xticks(range(len(choices)), texts, rotation=30 if long else 0, ha="right" if long else "center")
        axes.set_xlim(-0.6, len(choices) - 0.4)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.annotate(name(path), (0, 1), (2, 4), "axes fraction", "offset points", fontsize=9.5, fontweight="bold")
    style.finish(axes)
