"""Figures for papers: the front of quality against cost, and where it lies with which probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.plots.names import Named, Names
from ablate.results.plots.paper import Data, axes_of, axis_label, finish, logarithmic, looks, needs, short, table_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDE = 10  # the largest cost over the smallest, from which the axis is logarithmic


def front(data: Data, ax: Axes | None = None, objectives: Sequence[str] | None = None) -> Axes:
    """Draw the Pareto front of two objectives: `Results.front`.

    data: `Results`, or the table of `Results.front`. objectives: two, the study's own by default; the one that is a
    cost goes across. Points are means over seeds, bars ± one standard deviation; filled is what is on the front. Raises
    InputError for more or fewer than two objectives, and as `Results.front` does.
    """
    table = table_of(data, "front", objectives)
    across, up = _axes(table)
    ax = axes_of(ax)
    valued = table[np.isfinite(table[[across, up]].to_numpy(dtype=float)).all(axis=1)]
    x, y = valued[across].to_numpy(dtype=float), valued[up].to_numpy(dtype=float)
    found = looks(data, table)
    on_front = valued["on_front"].to_numpy(dtype=bool)
    line = valued[on_front].sort_values(across)
    ax.step(line[across], line[up], where="post", color=style.MUTED, linewidth=0.9, zorder=1)
    for (_, row), a, b, is_on in zip(valued.iterrows(), x, y, on_front, strict=True):
        look = found[str(row["candidate"])]
        deviation = float(row.get(f"{up}.sd", np.nan))
        if np.isfinite(deviation) and deviation > 0:
            ax.plot([a, a], [b - deviation, b + deviation], color=look.colour, linewidth=1, alpha=0.6, zorder=2)
        face = look.colour if is_on else "white"
        ax.plot(a, b, look.mark, color=look.colour, markerfacecolor=face, markersize=4.5, zorder=3)
    logarithmic(ax, "x", x, WIDE)
    ax.margins(0.12)
    ax.set_xlabel(axis_label(data, across))
    ax.set_ylabel(axis_label(data, up))
    order = sorted(range(len(x)), key=lambda i: not on_front[i])
    texts = [str(name) for name in valued["candidate"]]
    points = [Named(x[i], y[i], short(texts[i]), found[texts[i]].colour, bool(on_front[i])) for i in order]
    stairs = np.column_stack([np.repeat(line[across], 2)[1:], np.repeat(line[up], 2)[:-1]]) if len(line) else None
    Names(ax, points, line=stairs)
    finish(ax)
    return ax


def attainment(data: Data, ax: Axes | None = None, objectives: Sequence[str] | None = None) -> Axes:
    """Draw where the front of two objectives lies: `Results.attainment`.

    The line is its median, the band lies between the lowest and the highest level of the table (2.5 and 97.5 %). data:
    `Results`, or the table of `Results.attainment`. Raises InputError as that does.
    """
    table = table_of(data, "attainment", objectives)
    across, up = _axes(table)
    ax = axes_of(ax)
    levels = sorted(set(table["level"]))
    places = np.unique(table[across].to_numpy(dtype=float))
    reached = []
    for level in levels:
        own = table[table["level"] == level].sort_values(across)
        index = np.searchsorted(own[across].to_numpy(dtype=float), places, side="right") - 1
        values = own[up].to_numpy(dtype=float)[np.maximum(index, 0)]
        reached.append(np.where(index < 0, np.nan, values))
    colour = style.COLOURS[0]
    ax.fill_between(places, reached[0], reached[-1], step="post", color=colour, alpha=0.2, linewidth=0)
    middle = reached[len(levels) // 2]
    ax.step(places, middle, where="post", color=colour, linewidth=1.2, label=f"{levels[len(levels) // 2]:g} %")
    ax.set_xlabel(axis_label(data, across))
    ax.set_ylabel(axis_label(data, up))
    finish(ax)
    return ax


def _axes(table: pd.DataFrame) -> tuple[str, str]:
    """Return the column that goes across and the one that goes up: of a cost and a metric the cost goes across."""
    columns = list(table.attrs.get("objectives", ()))
    if len(columns) != 2:
        raise InputError(f"a front is drawn of two objectives, not of {len(columns)}: name two", "objectives")
    needs(table, columns, "Results.front")
    return (columns[1], columns[0]) if columns[1] in style.UNITS or columns[0] not in style.UNITS else tuple(columns)
