"""Quality against how samples were taken: evaluations of the network, guidance, length of the average."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.figures.leading import GREY, leading, name, said
from ablate.results.identity import told_apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.candidates.objectives import Objective
    from ablate.results.candidates import CandidateRow
    from ablate.results.results import Results

FIELDS = {"nfe": "evaluations of the denoiser a sample", "guidance": "guidance", "ema": "average of the weights"}
BESIDE = ("samples", *FIELDS, "solver", "solver_settings")  # what all points of a panel have in common


def draw(results: Results) -> Figure | None:
    """A panel a field of which some candidate was measured at more than one value; None where there is none."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None or goal.is_recorded:
        return None
    panels = {field: found for field in FIELDS if (found := _points(results, goal, field)) is not None}
    if not panels:
        return None
    figure = Figure(figsize=(0.8 + 5.2 * len(panels), 4.6))
    for i, (field, (table, held)) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        _panel(axes, results, goal, field, table)
        style.title(
            axes,
            "" if i else "How samples are taken",
            held if i else f"mean over seeds; bar: ± 1 sd {held}\n{said(results)}".strip(),
        )
        if i == 0:
            axes.set_ylabel(style.axis_label(goal))
    figure.subplots_adjust(left=0.11, right=0.97, bottom=0.16, top=0.82, wspace=0.25)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="center left", bbox_to_anchor=(0.98, 0.5), fontsize=8.5, frameon=False)
    return figure


def _points(results: Results, goal: Objective, field: str) -> tuple[pd.DataFrame, str] | None:
    """The front's rows along one field, and what all else was held at; None without two values to join.

    Of several settings of all else, the one at which the field takes the most values; of equals, the study's own.
    """
    rows = results.metrics[results.metrics["metric"] == goal.column]
    others = [name for name in BESIDE if name != field and rows[name].nunique(dropna=False) > 1]
    groups: list[tuple[dict[str, object], pd.DataFrame]] = [({}, rows)]
    if others:
        found = rows.groupby(others, sort=False, dropna=False)  # in the order of measurement: the study's own first
        groups = [(dict(zip(others, key, strict=True)), of) for key, of in found]
    where, most = max(groups, key=lambda group: group[1][field].nunique())
    if most[field].nunique() < 2:
        return None
    try:
        table = results.front([goal.column], where, along=[field])
    except InputError:
        return None
    apart = told_apart(rows["solver_settings"])
    kept = {
        field: apart.get(str(value), value) for field, value in where.items() if value is not None and value == value
    }
    plain = ("guidance", "solver_settings")
    held = ", ".join(str(value) if name in plain else f"{name} {value}" for name, value in kept.items())
    return table, f"at {held}" if held else ""


def _panel(axes: Axes, results: Results, goal: Objective, field: str, table: pd.DataFrame) -> None:
    places = sorted(table[field].unique(), key=_number)
    numbers = [_number(place) for place in places]
    plain = all(np.isfinite(numbers)) and len(set(numbers)) == len(numbers)
    at = dict(zip(places, numbers if plain else range(len(places)), strict=True))
    named = leading(results)
    for candidate in named:
        _line(axes, candidate, table[table["config_hash"] == candidate.config_hash], at, field, goal)
    others = table[~table["config_hash"].isin([c.config_hash for c in named])]
    axes.scatter(others[field].map(at).astype(float), others[goal.column], s=8, color=GREY, linewidth=0, zorder=1)
    if plain and min(numbers) > 0 and max(numbers) / min(numbers) > 5:
        style.logarithmic(axes, "x", min(numbers), max(numbers))
    elif not plain:
        axes.set_xticks(list(at.values()), [str(place) for place in places], rotation=20)
    axes.set_xlabel(FIELDS[field])
    style.finish(axes)


def _line(
    axes: Axes, candidate: CandidateRow, of: pd.DataFrame, at: dict[object, float], field: str, goal: Objective
) -> None:
    if of.empty:
        return
    look, place = style.look(candidate), of[field].map(at)
    of = of.assign(place=place.astype(float)).sort_values("place")
    axes.errorbar(
        of["place"],
        of[goal.column],
        yerr=of[f"{goal.column}.sd"].fillna(0.0),
        color=look.colour,
        marker=look.mark,
        linestyle=look.dash,
        linewidth=1.4,
        markersize=5,
        label=name(candidate.label),
    )


def _number(value: object) -> float:
    """The one number in a label such as `cfg(1.5)` or 24; NaN where there is none, or more than one."""
    found = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])", str(value))
    return float(found[0]) if len(found) == 1 else float("nan")
