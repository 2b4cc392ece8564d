"""Figure: learning curves, training loss against training images, a line a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.results.figures import style
from ablate.results.figures.leading import GREY, colour_note, in_grey, leading, name
from ablate.results.figures.place import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

POINTS = 200  # more than so many are averaged in bins: a finer line shows only noise
NAMED = 16
# Varying one of these changes what the loss is, not only how small it gets.
REDEFINES = ("target", "weighting", "loss", "objective", "auxiliary", "precondition", "levels", "schedule", "data")


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the mean loss over the seeds of each candidate, with a band of one standard deviation; None without curves.

    Trials that did not complete are thin lines of their own; a cross marks where one diverged.
    """
    from matplotlib.figure import Figure

    coloured = leading(results)
    others = in_grey(results, coloured)
    some = len(coloured) + len(others) < len(results.candidates)
    table = results.trials[["trial", "config_hash", "state"]]
    if some:
        table = table[table["config_hash"].isin([c.config_hash for c in (*coloured, *others)])]
    curves = (results.curves_of(table["trial"]) if some else results.curves).merge(table, on="trial")
    curves = curves[np.isfinite(curves["loss"]) & np.isfinite(curves["images"])]
    if curves.empty:
        return None
    figure = Figure(figsize=(8.2, 5.0))
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.11, right=0.82, bottom=0.12, top=0.86)
    low, high = _range(curves)
    if low > 0 and high / low > 5:
        style.logarithmic(axes, "y", low, high)
    curves_of = _by_candidate(curves, coloured)
    ends = {c: _lines(axes, c, curves_of[c.config_hash], high) for c in coloured if c.config_hash in curves_of}
    complete_of = _by_candidate(curves[curves["state"] == "complete"], others)
    grey = _others(axes, [complete_of[c.config_hash] for c in others if c.config_hash in complete_of])
    axes.set_xlim(0, float(curves["images"].max()))
    room = (high / low) ** 0.05 if axes.get_yscale() == "log" else 0.05 * (high - low) or 1e-3
    axes.set_ylim((low / room, high * room) if axes.get_yscale() == "log" else (low - room, high + room))
    axes.set_xlabel("training images")
    axes.set_ylabel("training loss")
    style.thousands(axes)
    redefined = sorted({p for c in results.candidates for p in c.choices if set(p.split(".")) & set(REDEFINES)})
    note = "mean over seeds; band: ± 1 standard deviation"
    if redefined and len(results.candidates) > 1:
        note += f"; what the loss is depends on {', '.join(redefined)}: do not compare its level across them"
    colours = colour_note(results, grey=grey if some else None)
    style.title(axes, "Learning curves", "\n".join(line for line in (note, colours) if line))
    style.finish(axes)
    names_at_the_end(axes, {c: end for c, end in ends.items() if end is not None})
    return figure


def _by_candidate(curves: pd.DataFrame, candidates: list[CandidateRow]) -> dict[str, pd.DataFrame]:
    own = curves[curves["config_hash"].isin([c.config_hash for c in candidates])]
    return {str(config_hash): part for config_hash, part in own.groupby("config_hash", observed=True)}


def _range(curves: pd.DataFrame) -> tuple[float, float]:
    """Return the range of the loss to show; a loss that has exploded does not flatten the others."""
    sound = curves[curves["state"] != "diverged"]
    losses = (sound if len(sound) else curves)["loss"].to_numpy(dtype=float)
    low, high = float(losses.min()), float(losses.max())
    if not len(sound):
        return low, high
    worst = float(curves["loss"].max())
    return low, min(worst, high + 0.5 * (high - low)) if worst > high else high


def _lines(axes: Axes, candidate: CandidateRow, curves: pd.DataFrame, top: float) -> float | None:
    """Draw a candidate's lines; return the loss at which its name belongs, None without a curve."""
    look = style.look(candidate)
    end: float | None = None
    complete = curves[curves["state"] == "complete"]
    own = _own_line(complete)
    if own is not None:
        axes.plot(*own.T, color=look.colour, linestyle=look.dash, linewidth=1.7)
        end = float(own[-1, 1])
    elif len(complete):
        shared = binned(complete)
        over = shared.groupby("images", observed=True)["loss"]
        mean, spread = over.mean(), over.std()
        axes.plot(mean.index, mean, color=look.colour, linestyle=look.dash, linewidth=1.7)
        if shared["seed"].nunique() > 1:
            axes.fill_between(mean.index, mean - spread, mean + spread, color=look.colour, alpha=0.2, linewidth=0)
        end = float(shared[shared["images"] == shared["images"].max()]["loss"].mean())
    for _, trial in curves[curves["state"] != "complete"].groupby("trial", observed=True):
        line = binned(trial).sort_values("images")
        axes.plot(line["images"], line["loss"], color=look.colour, linestyle=look.dash, linewidth=0.9, alpha=0.7)
        last = line.iloc[-1]
        if (trial["state"] == "diverged").all():
            end_point = last["images"], min(float(last["loss"]), top)
            axes.plot(*end_point, "x", color=look.colour, markersize=8, markeredgewidth=2, clip_on=False, zorder=5)
        end = float(last["loss"]) if end is None else end
    return end


def _others(axes: Axes, curves: list[pd.DataFrame]) -> int:
    """Draw candidates without a name, by their complete trials: each one's mean, thin and grey. Return how many."""
    from matplotlib.collections import LineCollection

    lines = []
    for rows in curves:
        line = _own_line(rows)
        if line is None:
            mean = binned(rows).groupby("images", observed=True)["loss"].mean()
            line = np.column_stack([mean.index.to_numpy(dtype=float), mean.to_numpy(dtype=float)])
        lines.append(line)
    if lines:
        axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.7, alpha=0.6, zorder=1), autolim=False)
    return len(lines)


def _own_line(rows: pd.DataFrame) -> NDArray[np.float64] | None:
    """Return the line (N, 2) of a candidate with one trial, which is its mean already; None of none, or of more."""
    trials, images = rows["trial"].to_numpy(), rows["images"].to_numpy(dtype=float)
    if not len(images) or len(images) > POINTS or (trials != trials[0]).any() or len(np.unique(images)) < len(images):
        return None
    order = np.argsort(images)
    return np.column_stack([images[order], rows["loss"].to_numpy(dtype=float)[order]])


def binned(curves: pd.DataFrame) -> pd.DataFrame:
    """Interpolate all trials to one grid, at most POINTS long and no longer than the shortest trial."""
    last = float(curves.groupby("trial", observed=True)["images"].max().min())
    grids = [np.sort(rows["images"].unique()) for _, rows in curves.groupby("trial", observed=True)]
    same = all(np.array_equal(g, grids[0]) for g in grids)
    if same and len(grids[0]) <= POINTS:
        return curves[["trial", "seed", "images", "loss"]]
    first = max(float(g[0]) for g in grids)
    grid = np.linspace(first, max(last, first), min(POINTS, max(map(len, grids))))
    parts = []
    for trial, rows in curves.sort_values("images").groupby("trial", observed=True):
        images, loss = rows["images"].to_numpy(dtype=float), rows["loss"].to_numpy(dtype=float)
        if len(images) > 2 * len(grid):  # average what falls into one step of the grid
            step = np.digitize(images, (grid[:-1] + grid[1:]) / 2)
            filled = np.unique(step)
            images, loss = grid[filled], np.array([loss[step == k].mean() for k in filled])
        parts.append(
            pd.DataFrame(
                {"trial": trial, "seed": rows["seed"].iloc[0], "images": grid, "loss": np.interp(grid, images, loss)}
            )
        )
    return pd.concat(parts, ignore_index=True)


def names_at_the_end(axes: Axes, ends: dict[CandidateRow, float]) -> None:
    """Write names at the right end of the lines, spread so that none covers another."""
    size = 9.5 if len(ends) <= NAMED else 7.5
    line_height = size * 1.35 * axes.figure.dpi / 72
    frame = axes.get_window_extent()
    low, high = axes.get_ylim()
    x = axes.get_xlim()[1]
    positions = [float(axes.transData.transform((x, min(max(y, low), high)))[1]) for y in ends.values()]
    centres = spread(positions, [line_height] * len(positions), frame.y0, frame.y1)
    for candidate, line_end, centre in zip(ends, positions, centres, strict=True):
        look = style.look(candidate)
        y, target = ((v - frame.y0) / frame.height for v in (centre, line_end))
        axes.plot(
            [1.005, 1.02, 1.03],
            [target, y, y],
            color=look.colour,
            linewidth=0.9,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            1.036, y, name(candidate.label), color=look.colour, fontsize=size, va="center", transform=axes.transAxes
        )
