"""Figure: a forest plot, each candidate's difference from the baseline with its confidence interval."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.results.figures import style
from ablate.results.figures.leading import MOST, leading, name
from ablate.results.numbers import number, probability, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

COLUMNS = (14, 186, 208)  # points right of the axes: difference, n, p


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the effects on the study's quality; None without a metric, a baseline, or anything to compare with it."""
    from matplotlib.figure import Figure

    quality = results.quality
    if quality is None or results.baseline is None or len(results.candidates) < 2:
        return None
    table = results.effects(quality.column)
    differences = table.attrs["differences"]
    if not table["n"].any():
        return None  # a frame without a point: the verdict says why there is nothing to compare
    omitted = max(len(table) - MOST, 0)
    if omitted:
        shown_hashes = {c.config_hash for c in leading(results, MOST + 1)}  # and the baseline, which has no row
        table = table[table["config_hash"].isin(shown_hashes)].head(MOST)
    height = 1.95 + 0.42 * len(table)
    figure = Figure(figsize=(8.2, height))
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.22, right=0.66, bottom=0.6 / height, top=1 - 1.15 / height)
    looks = {c.config_hash: c for c in results.candidates}
    origin = 0.0
    if table.attrs["scale"] == "log":  # ratios, which are 1 where nothing differs
        origin = 1.0
        table = table.assign(difference=table["ratio"], low=table["ratio_low"], high=table["ratio_high"])
    low, high = _limits(table, differences, origin)
    axes.set_xlim(low, high)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.axvline(origin, color=style.INK, linewidth=1, zorder=1)
    if (delta := table.attrs["delta"]) is not None:  # differences of no weight
        within = (1 / (1 + delta), 1 + delta) if origin else (-delta, delta)
        axes.axvspan(*within, color=style.MUTED, alpha=0.12, linewidth=0, zorder=0)
    for i, (_, row) in enumerate(table.iterrows()):
        _row(axes, i, row, looks[row["config_hash"]], list(differences[row["config_hash"]].values()), origin)
    axes.set_yticks(range(len(table)), [name(label) for label in table["candidate"]])
    for tick, hash_ in zip(axes.get_yticklabels(), table["config_hash"], strict=True):
        tick.set_color(style.look(looks[hash_]).colour)
        tick.set_fontsize(10)
    better = "right" if quality.larger_is_better else "left"
    what = "ratio to" if origin else "difference from"
    axes.set_xlabel(f"{quality.column}: {what} {name(results.baseline.label)}")
    level = 100 * (1 - table.attrs["alpha"])
    heads = (f"{'ratio' if origin else 'difference'} [{level:g} %]", "n", "p (Holm)")
    for offset, text in zip(COLUMNS, heads, strict=True):
        _beside(axes, -0.6, offset, text, style.MUTED, above=5)
    note = (
        f"{better} of {origin:g} is better; points: seeds, paired; bar: {level:g} % interval over all comparisons\n"
        f"p: {table.attrs['test']}, Holm"
    )
    if table.attrs["delta"] is not None:
        margin = f"{100 * table.attrs['delta']:g} %" if origin else f"±{number(table.attrs['delta'])}"
        note += f"; grey: within {margin}"
    if omitted:
        note += f"\nthe front and the best, {len(table)} in all; {omitted} more are not shown"
    renderer = style.renderer(figure)
    names = [tick.get_window_extent(renderer) for tick in axes.get_yticklabels()]
    width = max(extent.width for extent in names) * 72 / figure.dpi + 12  # points, with the gap to the axes
    sub = f"{note}\n{table.attrs['note']}".strip()
    style.title(axes, f"Effect on {quality.column}", sub, left=-max(width, 126), up=14)
    style.finish(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=9)  # room for the arrow of an interval that goes on
    return figure


def _beside(axes: Axes, row: float, offset: float, text: str, colour: str = style.INK, above: float = 0) -> None:
    """Write text right of the axes, `offset` points from them, in the line of a row."""
    axes.annotate(
        text,
        (1, row),
        (offset, above),
        ("axes fraction", "data"),
        "offset points",
        fontsize=9,
        color=colour,
        va="bottom" if above else "center",
        annotation_clip=False,
    )


def _limits(table: pd.DataFrame, differences: dict[str, dict[str, float]], origin: float) -> tuple[float, float]:
    """Return limits with room for the seeds and intervals up to three times as wide; longer ones end in an arrow."""
    values = np.array(
        [origin, *(d for by_seed in differences.values() for d in by_seed.values()), *table["difference"].dropna()]
    )
    span = float(np.ptp(values)) or max(abs(float(values.max())), 1e-3)
    ends = table[["low", "high"]].to_numpy(dtype=float)
    ends = ends[np.isfinite(ends)]
    low = max(float(min(values.min(), *ends)) if len(ends) else float(values.min()), float(values.min()) - span)
    high = min(float(max(values.max(), *ends)) if len(ends) else float(values.max()), float(values.max()) + span)
    return low - 0.06 * span, high + 0.06 * span


def _row(
    axes: Axes, i: int, row: pd.Series[Any], candidate: CandidateRow, differences: list[float], origin: float
) -> None:
    look = style.look(candidate)
    if row["n"]:
        low, high = axes.get_xlim()
        if math.isfinite(row["low"]):
            axes.plot([max(row["low"], low), min(row["high"], high)], [i, i], color=look.colour, linewidth=2, zorder=2)
            for cut, x, mark in ((row["low"] < low, low, "<"), (row["high"] > high, high, ">")):
                if cut:
                    axes.plot(x, i, mark, color=look.colour, markersize=7, clip_on=False, zorder=3)
        if len(differences) > 1:
            axes.scatter(
                differences, [i + 0.24] * len(differences), s=12, color=look.colour, alpha=0.5, linewidth=0, zorder=3
            )
        axes.scatter(row["difference"], i, s=60, marker=look.mark, color=look.colour, edgecolor="white", zorder=4)
        write = partial(number, digits=3) if origin else signed
        interval = f" [{write(row['low'])}, {write(row['high'])}]" if math.isfinite(row["low"]) else ""
        cells = [f"{write(row['difference'])}{interval}", str(row["n"]), probability(row["p_holm"])]
    else:
        cells = ["no pair with the baseline", "0", "–"]
    cells[-1] += f"   {row['diverged']} diverged" if row["diverged"] else ""
    for x, text in zip(COLUMNS, cells, strict=True):
        _beside(axes, i, x, text)
