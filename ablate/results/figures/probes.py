"""Figures of probes: a line a candidate over depth or log SNR, at the start and at the end of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.results.figures import style
from ablate.results.figures.leading import GREY, leading, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

NAMED = 20  # candidates in the legend at the most
PANELS = 6  # rows of panels at the most: quantities of one probe
WIDTH, HEIGHT = 4.1, 2.9  # inches of a panel
LOGARITHMIC = 20.0  # a range by such a factor is drawn on a logarithmic axis


def names(results: StudyAnalysis) -> list[str]:
    """Return `probe_<name>` of each probe with observations."""
    observations = results.probes
    return [] if observations.empty else [f"probe_{name}" for name in sorted(set(map(str, observations["probe"])))]


def draw(results: StudyAnalysis, name: str) -> Figure | None:
    """Draw the figure of one probe, by its name as in `names`; None where no value is finite."""
    observations, probe = results.probes, name.removeprefix("probe_")
    axes = dict(observations.attrs.get("axes", {}))
    rows = observations[observations["probe"] == probe].merge(results.trials[["trial", "config_hash"]], on="trial")
    rows = rows[np.isfinite(rows["value"])]
    return None if rows.empty else _figure(results, probe, str(axes.get(probe, "x")), rows)


def _figure(results: StudyAnalysis, name: str, axis: str, rows: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    along = bool(rows["x"].notna().any())
    moments = _moments(rows[rows["x"].notna()]) if along else [("during training", rows)]
    groups = _quantities(rows)[:PANELS]
    figure = Figure(figsize=(WIDTH * len(moments) + 1.6, HEIGHT * len(groups) + 0.9))
    grid = figure.subplots(len(groups), len(moments), squeeze=False, sharey="row", sharex=along)
    for row, sites in enumerate(groups):
        for column, (moment, part) in enumerate(moments):
            panel_rows, panel = part[part["site"].isin(sites)], grid[row][column]
            _lines(panel, results, panel_rows) if along else _events(panel, results, panel_rows)
            panel.set_xlabel((axis if along else "training images") if row == len(groups) - 1 else "")
            panel.set_title(moment if row == 0 else "", fontsize=10, color=style.MUTED, loc="left")
            style.finish(panel)
        _scale(grid[row][0], rows[rows["site"].isin(sites)])
        grid[row][0].set_ylabel(sites[0] if len(groups) > 1 or not along else name)
    note = "mean over seeds; band: their range" if along else "one point an event"
    height = float(figure.get_figheight())
    figure.text(0.01, 1 - 0.1 / height, name.replace("_", " "), fontsize=13, fontweight="bold", va="top")
    figure.text(0.01, 1 - 0.4 / height, note, fontsize=9, color=style.MUTED, va="top")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.6 / height))
    observed = set(rows["config_hash"])
    _legend(figure, [c for c in leading(results, NAMED) if c.config_hash in observed], len(results.candidates) - NAMED)
    return figure


def _moments(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the first and the last observations of all trials, each with its title."""
    images = rows.groupby("trial", observed=True)["images"]
    first, last = rows[rows["images"] == images.transform("min")], rows[rows["images"] == images.transform("max")]
    begun = "at initialisation" if (first["images"] == 0).all() else "first observation"
    if len(first) == len(rows):
        return [(begun, first)]
    return [(begun, first), ("at the end of training", last)]


def _quantities(rows: pd.DataFrame) -> list[list[str]]:
    """Group sites by panel: sites with one x each (blocks) share one, sites with many (losses) have their own."""
    sites = [str(site) for site in rows["site"].unique()]
    many = rows.groupby(["trial", "images", "site"], observed=True)["x"].nunique()
    return [[site] for site in sites] if (many != 1).any() and len(sites) <= PANELS else [sites]


def _lines(panel: Axes, results: StudyAnalysis, rows: pd.DataFrame) -> None:
    """Draw a line a candidate: the mean over seeds at each x."""
    if (rows["x"] == rows["x"].round()).all():
        from matplotlib.ticker import MaxNLocator

        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    coloured = leading(results, NAMED)
    for candidate in coloured:
        own_rows = rows[rows["config_hash"] == candidate.config_hash]
        if own_rows.empty:
            continue
        look, over = style.look(candidate), own_rows.groupby("x", observed=True)["value"]
        mean = over.mean()
        panel.plot(mean.index, mean, look.mark, linestyle=look.dash, color=look.colour, markersize=3.5, linewidth=1.4)
        if own_rows["seed"].nunique() > 1:
            panel.fill_between(mean.index, over.min(), over.max(), color=look.colour, alpha=0.15, linewidth=0)
    _others(panel, rows[~rows["config_hash"].isin([c.config_hash for c in coloured])])


def _others(panel: Axes, rows: pd.DataFrame) -> None:
    """Draw the candidates without a name, thin and grey."""
    from matplotlib.collections import LineCollection

    means = rows.groupby(["config_hash", "x"], observed=True)["value"].mean().reset_index()
    lines = [line[["x", "value"]].to_numpy(dtype=float) for _, line in means.groupby("config_hash", observed=True)]
    if lines:
        panel.add_collection(LineCollection(lines, colors=GREY, linewidths=0.7, alpha=0.6, zorder=1))


def _events(panel: Axes, results: StudyAnalysis, rows: pd.DataFrame) -> None:
    """Draw a point an observation, by the images seen."""
    coloured = leading(results, NAMED)
    rest = rows[~rows["config_hash"].isin([c.config_hash for c in coloured])]
    panel.plot(rest["images"], rest["value"], ".", color=GREY, markersize=2, zorder=1)
    for candidate in coloured:
        own_rows = rows[rows["config_hash"] == candidate.config_hash]
        look = style.look(candidate)
        panel.plot(own_rows["images"], own_rows["value"], look.mark, color=look.colour, markersize=4.5, alpha=0.8)
    panel.set_xlim(left=0)
    style.thousands(panel)


def _scale(panel: Axes, rows: pd.DataFrame) -> None:
    low, high = float(rows["value"].min()), float(rows["value"].max())
    if low > 0 and high / low > LOGARITHMIC:
        style.logarithmic(panel, "y", low, high)


def _legend(figure: Figure, candidates: list[CandidateRow], more: int) -> None:
    """Write names at the right, each in its candidate's colour."""
    from matplotlib.lines import Line2D

    looks = [(c, style.look(c)) for c in candidates]
    handles = [Line2D([], [], color=k.colour, marker=k.mark, linestyle=k.dash, markersize=4) for _, k in looks]
    labels = [name(c.label) for c, _ in looks]
    if more > 0:
        handles.append(Line2D([], [], color=GREY))
        labels.append(f"{more} more")
    figure.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
