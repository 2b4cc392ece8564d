"""Figures for papers: effects as a forest plot, and how much each choice matters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ablate.results.figures import style
from ablate.results.figures.importance import draw_panel
from ablate.results.plots.paper import Data, arrow, axes_of, finish, looks, needs, readable, short, table_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.17  # inches of a row


def effects(data: Data, ax: Axes | None = None, metric: str | None = None) -> Axes:
    """Draw each candidate's difference from the baseline with its interval, the best on top: `Results.effects`.

    data: `Results`, or the table of `Results.effects`. metric: the study's own first one by default. Filled marks are
    told from chance by the study's test. On the log scale ratios are drawn. Raises InputError as `Results.effects`.
    """
    table = table_of(data, "effects", metric)
    told = table.attrs
    ratio = told.get("scale") == "log"
    value, low, high = ("ratio", "ratio_low", "ratio_high") if ratio else ("difference", "low", "high")
    needs(table, ["candidate", value, low, high], "Results.effects")
    table = table[np.isfinite(table[value].astype(float))].reset_index(drop=True)
    ax = axes_of(ax, height=0.75 + ROW * max(len(table), 3))
    found = looks(data, table)
    origin = 1.0 if ratio else 0.0
    ax.axvline(origin, color=style.INK, linewidth=0.8, zorder=1)
    if (delta := told.get("delta")) is not None:
        within = (1 / (1 + delta), 1 + delta) if ratio else (-delta, delta)
        ax.axvspan(*within, color=style.MUTED, alpha=0.12, linewidth=0, zorder=0)
    for i, row in enumerate(table.to_dict("records")):
        look = found[str(row["candidate"])]
        if math.isfinite(row[low]):
            ax.plot([row[low], row[high]], [i, i], color=look.colour, linewidth=1.3, zorder=2)
        face = look.colour if row.get("answer", "open") in ("better", "worse") else "white"
        ax.plot(row[value], i, look.mark, color=look.colour, markerfacecolor=face, markersize=4.5, zorder=3)
    ax.set_yticks(range(len(table)), [short(name) for name in table["candidate"]], fontsize=7, parse_math=False)
    ax.set_ylim(len(table) - 0.4, -0.6)
    column = str(told.get("metric", "metric"))
    against = f"{'ratio to' if ratio else 'difference from'} {short(told.get('baseline', 'baseline'), 28)}"
    ax.set_xlabel(f"{readable(data, column)}{arrow(data, column)}\n{against}", loc="right", parse_math=False)
    finish(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    return ax


def importance(data: Data, ax: Axes | None = None, of: str | None = None) -> Axes:
    """Draw how much each choice matters, with its interval, p, and what chance gives: `Results.importance`.

    data: `Results`, or the table of `Results.importance`. Raises InputError as that does.
    """
    table = table_of(data, "importance", of)
    needs(table, ["path", "importance", "low", "high", "p", "by_chance"], "Results.importance")
    ax = axes_of(ax, height=0.75 + 1.2 * ROW * max(len(table), 3))
    draw_panel(ax, table, size=7)
    ax.set_xlabel(f"importance for {table.attrs.get('of', 'quality')} (share)")
    return ax
