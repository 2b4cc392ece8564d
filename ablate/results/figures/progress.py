"""Figure: how far a search had come after how much training, the best so far and the hypervolume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.errors import InputError
from ablate.results.figures import style
from ablate.results.numbers import number
from ablate.results.searches.progress import progress
from ablate.results.searches.space import several_factors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablate.results.analysis import StudyAnalysis

FEWEST = 16  # candidates


def draw(results: StudyAnalysis) -> Figure | None:
    """Draw the best so far, and the hypervolume, against the training; None without a search of enough candidates."""
    from matplotlib.figure import Figure

    if len(results.candidates) < FEWEST or not several_factors(results.candidates):
        return None
    try:
        table = progress(results)
    except InputError:  # nothing is known of when trials ended
        return None
    if len(table) < FEWEST:
        return None
    has_volume = len(table.attrs["objectives"]) > 1 and bool(table["hypervolume"].notna().any())
    figure = Figure(figsize=(11.0 if has_volume else 6.4, 4.4))
    panels = figure.subplots(1, 1 + has_volume, squeeze=False)[0]
    figure.subplots_adjust(left=0.08 if has_volume else 0.13, right=0.97, bottom=0.13, top=0.81, wspace=0.24)
    goal = results.objective(table.attrs["metric"])
    _panel(panels[0], table, "best")
    panels[0].set_ylabel(f"best {goal.column} so far")
    style.title(panels[0], "Best so far", "\na step where a candidate ended")
    if has_volume:
        _panel(panels[1], table, "hypervolume")
        panels[1].set_ylabel("hypervolume   (higher is better)")
        names = {goal.column: goal.name for goal in results.objectives()}
        point = ", ".join(
            f"{names[column]} {number(value)}" for column, value in table.attrs["reference_point"].items()
        )
        own = "" if table.attrs["reference_from"] == "study" else " (a tenth beyond the front)"
        style.title(panels[1], "Hypervolume", f"up to {point}{own}\npoints: who is on the front at the end")
    return figure


def _panel(axes: Axes, table: pd.DataFrame, column: str) -> None:
    x, y = table["train_gflops"].to_numpy(dtype=float), table[column].to_numpy(dtype=float)
    axes.step(x, y, where="post", color=style.COLOURS[0], linewidth=1.6, zorder=2)
    if column == "hypervolume":
        on = table["on_front"].to_numpy(dtype=bool)
        axes.scatter(x[on], y[on], s=26, color=style.BASELINE, edgecolor="white", linewidth=0.8, zorder=3)
    finite = y[np.isfinite(y)]
    if column == "best" and len(finite) and finite.min() > 0 and finite.max() / finite.min() > 3:
        style.logarithmic(axes, "y", float(finite.min()), float(finite.max()))
    axes.set_xlim(0, float(x.max()) * 1.03)
    style.thousands(axes)
    axes.set_xlabel("training Gflops of all trials until then (forward and backward)")
    style.finish(axes)
