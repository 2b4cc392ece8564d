"""Figure: how the choices of two factors work together, a panel a pair."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ablate.errors import InputError
from ablate.io.text import shortened
from ablate.results.factors.cells import cell_means
from ablate.results.factors.main_effects import main_effects
from ablate.results.figures import style
from ablate.results.figures.leading import name
from ablate.results.numbers import probability

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis

MOST, ACROSS = 6, 3  # panels, in all and in a row
LEVELS = len(style.COLOURS)  # of the factor that has a colour each
LABEL = 14  # signs of a level
NARROWEST = 6.8  # inches, of the note below the title
APART = 0.06  # of a step, between the marks of two lines


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the pairs of factors whose choices depend most on each other; None without two that can be told together."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None:
        return None
    pairs = _pairs(results, goal)
    if not pairs:
        return None
    across = min(len(pairs), ACROSS)
    rows = math.ceil(len(pairs) / across)
    figure = Figure(figsize=(max(1.0 + 3.7 * across, NARROWEST), 1.1 + 3.3 * rows))
    height = figure.get_figheight()
    panels = figure.subplots(rows, across, sharey=True, squeeze=False).ravel()
    edges = {"bottom": 0.75 / height, "top": 1 - 1.15 / height, "hspace": 0.62, "wspace": 0.1}
    figure.subplots_adjust(left=0.9 / figure.get_figwidth(), right=0.98, **edges)
    for axes, (one, other, p) in zip(panels, pairs, strict=False):
        _panel(axes, cell_means(results, goal, one, other), one, other, p)
    for axes in panels[len(pairs) :]:
        axes.set_visible(False)
    for axes in panels[::across]:
        axes.set_ylabel(style.axis_label(goal))
    note = (
        "means as if all combinations of the other choices stood beside each; bar: 95 % interval\nlines that are not "
    )
    note += "parallel: one choice depends on the other; p: of the pair, Holm over all"
    style.title(panels[0], f"Interactions for {goal.column}", note, up=14)
    return figure


def _pairs(results: StudyAnalysis, goal: Objective) -> list[tuple[str, str, float]]:
    """Return (one, other, p) of pairs of factors that can be told together, those that depend most on each other first.

    The one with more levels goes along the axis.
    """
    try:
        table = main_effects(results.trials, results.metrics, goal, results.baseline_labels, "all")
    except InputError:
        return []
    told = table[table["factor"].str.contains(" × ") & table["difference"].notna()]
    pairs = []
    for factor, own in told.groupby("factor", sort=False, observed=True):
        one, other = str(factor).split(" × ")
        one, other = sorted((one, other), key=lambda path: -table.loc[table["factor"] == path].shape[0])
        if table.loc[table["factor"] == other].shape[0] < LEVELS:
            pairs.append((one, other, float(own["p_holm"].min())))
    return sorted(pairs, key=lambda pair: (math.isnan(pair[2]), pair[2]))[:MOST]


def _in_order(levels: pd.Series[str]) -> list[str]:
    """Return the levels, each once: numbers by their size, names with the baseline's first."""
    found = list(dict.fromkeys(levels))
    try:
        return sorted(found, key=float)
    except ValueError:
        return found


def _panel(axes: Axes, cells: pd.DataFrame, one: str, other: str, p: float) -> None:
    draw_cells(axes, cells)
    told = "" if math.isnan(p) else f"   p {probability(p)}"
    text = f"{name(one)} × {name(other)}{told}"
    axes.annotate(text, (0, 1), (2, 4), "axes fraction", "offset points", fontsize=9, fontweight="bold")
    axes.legend(title=name(other), fontsize=7.5, title_fontsize=7.5, frameon=False, loc="best")


def draw_cells(axes: Axes, cells: pd.DataFrame) -> None:
    """Draw the means of two factors' levels (`cell_means`), a line a level of the second one."""
    places = {level: i for i, level in enumerate(_in_order(cells["one"]))}
    lines = _in_order(cells["other"])
    cells = cells.sort_values("one", key=lambda levels: levels.map(places), kind="stable")
    for k, level in enumerate(lines):
        own = cells[cells["other"] == level]
        x = own["one"].map(places).to_numpy(dtype=float) + APART * (k - (len(lines) - 1) / 2)
        colour, dash = style.COLOURS[k % LEVELS], style.DASHES[k // 4 % len(style.DASHES)]
        mean = own["mean"].to_numpy(dtype=float)
        axes.plot(x, mean, style.MARKS[k % len(style.MARKS)], linestyle=dash, color=colour, label=level, markersize=5)
        if np.isfinite(own["low"]).all():
            axes.vlines(x, own["low"], own["high"], color=colour, linewidth=1.4, alpha=0.7)
    long = sum(map(len, places)) > 26
    texts = [shortened(level, LABEL) for level in places]
    axes.set_xticks(range(len(places)), texts, rotation=30 if long else 0, ha="right" if long else "center")
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.tick_params(axis="x", labelsize=8.5)
    style.finish(axes)
