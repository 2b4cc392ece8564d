"""Quality against how samples were taken: evaluations of the network, guidance, length of the average."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.errors import InputError
from ablate.results.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.candidates import Candidate
    from ablate.results.objectives import Objective
    from ablate.results.results import Results

FIELDS = {"nfe": "evaluations of the denoiser a sample", "guidance": "guidance", "ema": "average of the weights"}


def draw(results: Results) -> Figure | None:
    """A panel a field of which some candidate was measured at more than one value; None where there is none."""
    from matplotlib.figure import Figure

    goal = results.quality
    if goal is None or goal.is_recorded:
        return None
    panels = {field: table for field in FIELDS if (table := _points(results, goal, field)) is not None}
    if not panels:
        return None
    figure = Figure(figsize=(0.8 + 5.2 * len(panels), 4.6))
    for i, (field, table) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        _panel(axes, results, goal, field, table)
        if i == 0:
            style.title(axes, "How samples are taken", "mean over seeds, all else as the study says; bar: ± 1 sd")
            axes.set_ylabel(style.axis_label(goal))
            axes.legend(fontsize=8.5, frameon=False)
    figure.subplots_adjust(left=0.11, right=0.97, bottom=0.16, top=0.82, wspace=0.25)
    return figure


def _points(results: Results, goal: Objective, field: str) -> pd.DataFrame | None:
    """The front's rows along one field, all else as in the study's own measurement; None without a choice."""
    rows = results.metrics[results.metrics["metric"] == goal.column]
    if rows.groupby("trial")[field].nunique().max() in (0, 1) or rows.empty:
        return None
    own = rows.drop_duplicates("trial").iloc[0]  # the first of a trial is the study's own
    solver = None if field == "nfe" else own["nfe"]
    where = {"samples": own["samples"], "features_hash": own["features_hash"]}
    where |= {name: own[name] for name in ("guidance", "ema") if name != field and rows[name].nunique() > 1}
    try:
        table = results.front([goal.column], {**where, **({} if solver is None else {"nfe": solver})}, along=[field])
    except InputError:
        return None
    return table if table[field].nunique() > 1 else None


def _panel(axes: Axes, results: Results, goal: Objective, field: str, table: pd.DataFrame) -> None:
    places = sorted(table[field].unique(), key=_number)
    numbers = [_number(place) for place in places]
    plain = all(np.isfinite(numbers)) and len(set(numbers)) == len(numbers)
    at = dict(zip(places, numbers if plain else range(len(places)), strict=True))
    for candidate in results.candidates:
        _line(axes, candidate, table[table["config_hash"] == candidate.config_hash], at, field, goal)
    if plain and min(numbers) > 0 and max(numbers) / min(numbers) > 5:
        style.logarithmic(axes, "x", min(numbers), max(numbers))
    elif not plain:
        axes.set_xticks(list(at.values()), [str(place) for place in places], rotation=20)
    axes.set_xlabel(FIELDS[field])
    style.finish(axes)


def _line(
    axes: Axes, candidate: Candidate, of: pd.DataFrame, at: dict[object, float], field: str, goal: Objective
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
        label=candidate.label,
    )


def _number(value: object) -> float:
    """The one number in a label such as `cfg(1.5)` or 24; NaN where there is none, or more than one."""
    found = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])", str(value))
    return float(found[0]) if len(found) == 1 else float("nan")
