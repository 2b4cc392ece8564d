"""Figure: how much each choice matters, for the study's quality and for its front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.figures.leading import name
from ablate.results.numbers import probability
from ablate.results.searches.importance import importance
from ablate.results.searches.ranked import FRONT
from ablate.results.searches.space import several_factors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis

MOST = 14  # choices of a panel
TOLD, CHANCE = 0.05, "#de8f05"


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw a panel for the study's quality, and one for its front; None without a search of enough candidates."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None or not several_factors(results.candidates):
        return None
    asked = [goal.column, *([FRONT] if len(results.objectives()) > 1 else [])]
    try:
        tables = [importance(results, of) for of in asked]
    except InputError:  # too few candidates
        return None
    heights = [min(len(table), MOST) for table in tables]
    height = 1.95 + 0.34 * sum(heights) + 0.95 * (len(tables) - 1)
    figure = Figure(figsize=(8.2, height))
    panels = figure.subplots(len(tables), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    gap = 0.95 / (0.34 * sum(heights) / len(heights))
    figure.subplots_adjust(left=0.24, right=0.84, bottom=0.55 / height, top=1 - 1.15 / height, hspace=gap)
    about = f"what tells the best {tables[0].attrs['top']} of {tables[0].attrs['candidates']} candidates from all"
    note = f"{about} (PED-ANOVA, shares)\nbar: 95 % by resampling; orange: what chance gives; p: by permutation"
    for axes, table in zip(panels, tables, strict=True):
        draw_panel(axes, table.head(MOST))
        style.title(axes, f"Importance for {table.attrs['of']}", note if axes is panels[0] else "", left=-110)
    panels[-1].set_xlabel("importance")
    return figure


def draw_panel(axes: Axes, table: pd.DataFrame, size: float = 8.5) -> None:
    """Draw a bar a choice with its interval and p, and what chance gives. size: of the text beside it, in points."""
    for i, (_, row) in enumerate(table.iterrows()):
        colour = style.COLOURS[0] if row["p"] < TOLD else style.MUTED
        axes.barh(i, row["importance"], height=0.55, color=colour, alpha=0.35, linewidth=0, zorder=2)
        axes.plot([row["low"], row["high"]], [i, i], color=colour, linewidth=2, zorder=3)
        axes.plot(row["importance"], i, "o", color=colour, markersize=6, markeredgecolor="white", zorder=4)
        axes.plot([row["by_chance"]] * 2, [i - 0.36, i + 0.36], color=CHANCE, linewidth=1.6, zorder=3)
        text = f"{row['importance']:.2f}   p {probability(row['p'])}"
        axes.annotate(
            text, (1, i), (8, 0), ("axes fraction", "data"), "offset points", fontsize=size, va="center", color=colour
        )
    axes.set_yticks(range(len(table)), [name(path) for path in table["path"]])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    style.finish(axes, grid="x")
    axes.tick_params(axis="y", length=0)
