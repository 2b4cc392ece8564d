"""Figure: quality against sampling settings (network evaluations, guidance, EMA of the weights)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.figures.leading import GREY, colour_note, leading, name
from ablate.results.identity import differing_settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.candidates.objectives import Objective
    from ablate.results.analysis import StudyAnalysis
    from ablate.results.candidates import CandidateRow

FIELDS = {"nfe": "evaluations of the denoiser a sample", "guidance": "guidance", "ema": "average of the weights"}
BESIDE = ("samples", *FIELDS, "solver", "solver_settings")  # what all points of a panel have in common


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw a panel for each setting at several values of which a candidate was measured; None without one."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None or goal.is_recorded:
        return None
    panels = {field: points for field in FIELDS if (points := _points(results, goal, field)) is not None}
    if not panels:
        return None
    figure = Figure(figsize=(0.8 + 5.2 * len(panels), 4.6))
    for i, (field, (table, fixed)) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        _panel(axes, results, goal, field, table)
        style.title(
            axes,
            "" if i else "How samples are taken",
            fixed if i else f"mean over seeds; bar: ± 1 sd {fixed}\n{colour_note(results)}".strip(),
        )
        if i == 0:
            axes.set_ylabel(style.axis_label(goal))
    figure.subplots_adjust(left=0.11, right=0.97, bottom=0.16, top=0.82, wspace=0.25)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="center left", bbox_to_anchor=(0.98, 0.5), fontsize=8.5, frameon=False)
    return figure


def _points(results: StudyAnalysis, goal: Objective, field: str) -> tuple[pd.DataFrame, str] | None:
    """Return the front's rows along one setting, and text on the fixed others; None with fewer than two values.

    Of several settings of all else, the one at which the field takes the most values; of equals, the study's own.
    """
    rows = results.metrics[results.metrics["metric"] == goal.column]
    others = [name for name in BESIDE if name != field and rows[name].nunique(dropna=False) > 1]
    groups: list[tuple[dict[str, object], pd.DataFrame]] = [({}, rows)]
    if others:
        # in the order of measurement: the study's own first
        by_setting = rows.groupby(others, sort=False, dropna=False, observed=True)
        groups = [(dict(zip(others, key, strict=True)), group) for key, group in by_setting]
    where, chosen = max(groups, key=lambda group: group[1][field].nunique())
    if chosen[field].nunique() < 2:
        return None
    try:
        table = results.front([goal.column], where, along=[field])
    except InputError:
        return None
    differing = differing_settings(rows["solver_settings"])
    fixed = {
        field: differing.get(str(value), value)
        for field, value in where.items()
        if value is not None and value == value
    }
    without_name = ("guidance", "solver_settings")
    text = ", ".join(str(value) if name in without_name else f"{name} {value}" for name, value in fixed.items())
    return table, f"at {text}" if text else ""


def _panel(axes: Axes, results: StudyAnalysis, goal: Objective, field: str, table: pd.DataFrame) -> None:
    places = sorted(table[field].unique(), key=_number)
    numbers = [_number(place) for place in places]
    numeric = all(np.isfinite(numbers)) and len(set(numbers)) == len(numbers)
    x_of = dict(zip(places, numbers if numeric else range(len(places)), strict=True))
    coloured = leading(results)
    for candidate in coloured:
        _line(axes, candidate, table[table["config_hash"] == candidate.config_hash], x_of, field, goal)
    others = table[~table["config_hash"].isin([c.config_hash for c in coloured])]
    size = style.dot(8, len(others))
    axes.scatter(others[field].map(x_of).astype(float), others[goal.column], s=size, color=GREY, linewidth=0, zorder=1)
    if numeric and min(numbers) > 0 and max(numbers) / min(numbers) > 5:
        style.logarithmic(axes, "x", min(numbers), max(numbers))
    elif not numeric:
        axes.set_xticks(list(x_of.values()), [str(place) for place in places], rotation=20)
    axes.set_xlabel(FIELDS[field])
    style.finish(axes)


def _line(
    axes: Axes, candidate: CandidateRow, points: pd.DataFrame, x_of: dict[object, float], field: str, goal: Objective
) -> None:
    if points.empty:
        return
    look, x = style.look(candidate), points[field].map(x_of)
    points = points.assign(place=x.astype(float)).sort_values("place")
    axes.errorbar(
        points["place"],
        points[goal.column],
        yerr=points[f"{goal.column}.sd"].fillna(0.0),
        color=look.colour,
        marker=look.mark,
        linestyle=look.dash,
        linewidth=1.4,
        markersize=5,
        label=name(candidate.label),
    )


def _number(value: object) -> float:
    """Return the one number in a label such as `cfg(1.5)` or 24; NaN where there is none, or more than one."""
    numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])", str(value))
    return float(numbers[0]) if len(numbers) == 1 else float("nan")
