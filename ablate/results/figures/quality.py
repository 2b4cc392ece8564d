"""Figure: quality during training, against images, training Gflops and seconds, a line a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ablate.results.figures import style
from ablate.results.figures.curves import names_at_the_end
from ablate.results.figures.leading import GREY, MOST, colour_note, evenly, in_grey, leading
from ablate.results.quality_curves import COMPUTE, Compute, comparable_curves, half_widths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis

LABELS: dict[Compute, str] = {
    "images": "training images",
    "train_gflops": "training Gflops",
    "train_seconds": "seconds of training",
}


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the mean of the study's metric over the seeds of each candidate at each point; None without points.

    The intervals are of 95 %: Student's t, with one deviation of all candidates at a point (in the logarithm where all
    values are positive), because two or three seeds alone say little about theirs.
    """
    from matplotlib.figure import Figure

    found = quality_points(results)
    if found is None:
        return None
    goal, points, paused = found
    means = quality_means(points)
    panels = [of for of in COMPUTE if np.isfinite(means[of].to_numpy(dtype=float)).all()]
    figure = Figure(figsize=(2.2 + 3.6 * len(panels), 4.6))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.08, right=0.84, bottom=0.13, top=0.82, wspace=0.08)
    lines = {
        str(config_hash): line.sort_values("images")
        for config_hash, line in means.groupby("config_hash", observed=True)
    }
    named = leading(results)
    coloured = [c for c in named if c.config_hash in lines]
    others = in_grey(results, named)
    grey = [lines[c.config_hash] for c in others if c.config_hash in lines]
    some = len(named) + len(others) < len(results.candidates)
    stopped = [line for _, line in paused.groupby("trial", sort=False, observed=True)]
    shown = evenly(sorted(stopped, key=lambda line: goal.sign * float(line["value"].iloc[-1])))
    ends = {}
    for panel, of in zip(axes, panels, strict=True):
        _together(panel, of, grey, linewidth=0.7, alpha=0.6)
        _together(panel, of, shown, linewidth=0.8, marker=".", ms=3)
        for candidate in coloured:
            line = lines[candidate.config_hash]
            look = style.look(candidate)
            panel.plot(line[of], line["value"], look.mark, color=look.colour, linestyle=look.dash, linewidth=1.6, ms=4)
            panel.fill_between(line[of], line["low"], line["high"], color=look.colour, alpha=0.15, linewidth=0)
            ends[candidate] = float(line["value"].iloc[-1])
        _scales(panel, of, pd.concat([means, paused]))
        panel.set_xlabel(LABELS[of])
        style.finish(panel)
    axes[0].set_ylabel(style.axis_label(goal))
    style.title(
        axes[0],
        "Quality during training",
        _note(results, points, means, (len(shown), len(stopped)), len(grey) if some else None),
    )
    names_at_the_end(axes[-1], ends)
    return figure


def _together(panel: Axes, of: Compute, lines: list[pd.DataFrame], **how: Any) -> None:
    """Draw lines in grey as one, with gaps between them."""
    if not lines:
        return
    ends = np.cumsum([len(line) for line in lines])[:-1]
    x, y = (np.concatenate([line[column].to_numpy(dtype=float) for line in lines]) for column in (of, "value"))
    panel.plot(np.insert(x, ends, np.nan), np.insert(y, ends, np.nan), color=GREY, zorder=1, **how)


def quality_points(results: StudyAnalysis) -> tuple[Objective, pd.DataFrame, pd.DataFrame] | None:
    """Return the study's metric, or else the first, that was measured during training, and its points.

    Those of complete trials, then those of trials that are paused.
    """
    trials = results.trials
    first = [] if results.quality is None else [results.quality]
    for goal in [*first, *results.measured]:
        during = results.during_training(goal)
        rows = comparable_curves(trials, results.metrics, during)
        if len(rows):
            rows = rows.merge(trials[["trial", "config_hash"]], on="trial")
            paused = comparable_curves(trials, results.metrics, during, ("paused",))
            return during, rows.assign(point=rows.groupby("trial", observed=True).cumcount()), paused
    return None


def quality_means(points: pd.DataFrame) -> pd.DataFrame:
    """Return a row a candidate and point: config_hash, images, train_gflops, train_seconds, value, low, high."""
    positive = bool((points["value"] > 0).all())
    scaled = points.assign(value=np.log(points["value"]) if positive else points["value"])
    parts = []
    for _, at_point in scaled.groupby("point", sort=True, observed=True):
        grouped = at_point.groupby("config_hash", sort=False, observed=True)
        own = grouped[[*COMPUTE, "value"]].mean()
        away = at_point["value"] - grouped["value"].transform("mean")
        half_width = half_widths(float((away**2).sum()), len(at_point) - len(own))
        half = np.array([half_width(n) for n in grouped.size().tolist()])
        parts.append(own.assign(low=own["value"] - half, high=own["value"] + half).reset_index())
    means = pd.concat(parts, ignore_index=True).astype({"config_hash": str})
    ends = ["value", "low", "high"]
    return means.assign(**{end: np.exp(means[end]) for end in ends}) if positive else means


def _scales(axes: Axes, of: Compute, means: pd.DataFrame) -> None:
    low, high = float(means["value"].min()), float(means["value"].max())
    if low > 0 and high / low > 3:
        style.logarithmic(axes, "y", low, high)
    style.logarithmic(axes, "x", float(means[of].min()), float(means[of].max()))
    style.thousands(axes)


def _note(
    results: StudyAnalysis, points: pd.DataFrame, means: pd.DataFrame, paused: tuple[int, int], grey: int | None
) -> str:
    note = f"mean over seeds, of {int(points['samples'].iloc[0]):,} samples at each point"
    if np.isfinite(means["low"]).any():
        note += "; band: 95 % interval, deviation over seeds pooled over candidates"
    shown, stopped = paused
    if stopped:
        with_points = "with points, " if len(results.candidates) > MOST else ""
        some = f"{shown} of {stopped} " if shown < stopped else ""
        note += f"; {with_points}grey: {some}trials that were paused"
    return "\n".join(line for line in (note, colour_note(results, grey=grey)) if line)
