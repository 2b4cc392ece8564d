"""Figures for papers: curves over training, scaling laws, interactions of two factors, and probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.errors import InputError, did_you_mean
from ablate.results.figures import style
from ablate.results.figures.curves import binned
from ablate.results.figures.interactions import draw_cells
from ablate.results.figures.leading import leading
from ablate.results.plots.names import Named, Names
from ablate.results.plots.paper import (
    Data,
    axes_of,
    axis_label,
    finish,
    legend,
    logarithmic,
    looks,
    needs,
    short,
    table_of,
)
from ablate.results.scaling import Scaling

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LINES = 8  # candidates with a colour and a name; the others are grey
ACROSS = {"images": "training images", "train_gflops": "Gflops of training", "seconds": "seconds of training"}


def curves(data: Data, ax: Axes | None = None, y: str = "loss", x: str = "images") -> Axes:
    """Draw curves over training, the mean over seeds with its range: `Results.curves`.

    data: `Results`, or their `curves`. y: a column such as `loss`, or `m.<metric>` for quality during training. x:
    images, train_gflops or seconds. Of more than eight candidates the leading ones have a colour (of a table alone: the
    first), the others are grey. Raises InputError for a column that is not there.
    """
    table = table_of(data, "curves")
    needs(table, [x, y, "candidate"], "Results.curves")
    if x not in ACROSS:
        raise InputError(f"curves are drawn over {', '.join(ACROSS)}, not over {x!r}{did_you_mean(x, ACROSS)}", "x")
    table = table[np.isfinite(table[y].astype(float)) & np.isfinite(table[x].astype(float))]
    ax = axes_of(ax, height=3.0)
    _lines(data, ax, table, x, y, binned if (x, y) == ("images", "loss") else None)
    values = table[y].to_numpy(dtype=float)
    logarithmic(ax, "y", values, 5)
    ax.set_xlabel(ACROSS[x])
    ax.set_ylabel("training loss" if y == "loss" else axis_label(data, y))
    style.thousands(ax)
    finish(ax)
    legend(ax)
    return ax


def probes(data: Data, ax: Axes | None = None, probe: str | None = None, images: int | None = None) -> Axes:
    """Draw what a probe saw along its axis (a depth, a log SNR), the mean over seeds: `Results.probes`.

    probe: its name; the first one by default. images: after how many training images; the last observation by default.
    Raises InputError where there is no such probe, or it has no axis.
    """
    table = table_of(data, "probes")
    needs(table, ["probe", "x", "value", "candidate"], "Results.probes")
    known = list(dict.fromkeys(table["probe"].astype(str)))
    name = probe or next(iter(known), "")
    if name not in known:
        raise InputError(f"no probe {name!r} was observed{did_you_mean(name, known)}", "probe")
    rows = table[(table["probe"] == name) & table["x"].notna() & np.isfinite(table["value"])]
    if rows.empty:
        raise InputError(f"the probe {name!r} saw nothing along an axis", "probe")
    last = rows.groupby("trial", observed=True)["images"].transform("max") if images is None else images
    rows = rows[rows["images"] == last]
    ax = axes_of(ax, height=3.0)
    _lines(data, ax, rows, "x", "value", None)
    values = rows["value"].to_numpy(dtype=float)
    logarithmic(ax, "y", values, 20)
    ax.set_xlabel(str(dict(table.attrs.get("axes", {})).get(name, "x")))
    ax.set_ylabel(name.replace("_", " "))
    finish(ax)
    legend(ax)
    return ax


def scaling(data: Data, ax: Axes | None = None, metric: str | None = None) -> Axes:
    """Draw quality against Gflops over sizes, with the power law above a floor that fits them: `Results.scaling`.

    data: `Results`, or what `Results.scaling` gives. Raises InputError as that does.
    """
    fit = data if isinstance(data, Scaling) else data.scaling(metric)
    ax = axes_of(ax)
    points = fit.points
    colours = {} if isinstance(data, Scaling) else {name: look.colour for name, look in looks(data, points).items()}
    for label, cost, quality in zip(points["label"], points["cost"], points["quality"], strict=True):
        ax.plot(float(cost), float(quality), "o", color=colours.get(str(label), style.MUTED), markersize=4.5)
    low, high = float(points["cost"].min()), float(points["cost"].max())
    line = None
    if np.isfinite(fit.exponent):
        grid = np.geomspace(low, high, 60)
        line = np.column_stack([grid, fit.law(grid)])
        ax.plot(*line.T, color=style.INK, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        logarithmic(ax, "y", points["quality"].to_numpy(dtype=float), 1)
    logarithmic(ax, "x", points["cost"].to_numpy(dtype=float), 1)
    ax.margins(0.15)
    ax.set_xlabel(style.UNITS["gflops"])
    goal = None if isinstance(data, Scaling) else data.objective(metric) if metric else data.quality
    ax.set_ylabel("quality" if goal is None else axis_label(data, goal.column))
    rows = zip(points["cost"], points["quality"], points["label"].astype(str), strict=True)
    Names(ax, [Named(float(a), float(b), short(n, 24), colours.get(n, style.MUTED)) for a, b, n in rows], line=line)
    finish(ax)
    return ax


def interaction(data: Data, one: str, other: str, ax: Axes | None = None, metric: str | None = None) -> Axes:
    """Draw how the choices of two factors work together, a line a choice of `other`: `Results.cell_means`.

    Lines that are not parallel say that one depends on the other. one, other: paths such as `backbone.width`. Raises
    InputError as `Results.cell_means` does.
    """
    table = table_of(data, "cell_means", one, other, metric)
    ax = axes_of(ax, height=2.9)
    draw_cells(ax, table)
    quality = data.objective(metric) if metric else getattr(data, "quality", None)
    ax.set_xlabel(one)
    ax.set_ylabel("mean" if quality is None else axis_label(data, quality.column))
    legend(ax, columns=3)
    if (key := ax.get_legend()) is not None:
        key.set_title(other)
        key.get_title().set_fontsize(7)
    return ax


def _lines(data: Data, ax: Axes, table: pd.DataFrame, x: str, y: str, grid: Any) -> None:
    """Draw a line a candidate, the mean over its seeds, and the range over them."""
    found = looks(data, table)
    present = list(dict.fromkeys(table["candidate"].astype(str)))
    first = [c.label for c in leading(data, LINES)] if hasattr(data, "candidates") else present[:LINES]
    for name, rows in table.groupby(table["candidate"].astype(str), sort=False, observed=True):
        own = rows if grid is None else grid(rows)
        over = own.groupby(x, observed=True)[y]
        mean, look, named = over.mean(), found[str(name)], str(name) in first
        few = len(mean) <= 14
        ax.plot(
            mean.index,
            mean,
            color=look.colour if named else style.FAINT,
            linestyle=look.dash,
            marker=look.mark if few and named else None,
            markersize=3,
            linewidth=1.2 if named else 0.6,
            label=short(name, 26) if named else None,
            zorder=3 if named else 1,
        )
        if named and rows["seed"].nunique() > 1:
            ax.fill_between(mean.index, over.min(), over.max(), color=look.colour, alpha=0.15, linewidth=0, zorder=2)
    if len(present) > len(first):
        ax.plot([], [], color=style.FAINT, label=f"{len(present) - len(first)} more")
