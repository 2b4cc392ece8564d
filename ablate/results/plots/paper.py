"""What all figures for papers share: axes of a column's width, looks of candidates, labels of axes, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ablate.errors import InputError, did_you_mean
from ablate.io.files import nameable, write_with
from ablate.io.text import printable, shortened
from ablate.results.figures import METADATA, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

COLUMN = 3.35  # inches: a column of a page with two
NAME = 34  # signs of a name at the most; its middle is left out
ABBREVIATION = 4  # signs of a metric's name that is written in capitals: kid, fd, fid

Data = Any  # Results, or one of their DataFrames


def axes_of(ax: Axes | None, height: float = 2.5, width: float = COLUMN) -> Axes:
    """Return the given axes, or those of a new figure of a column's width (inches)."""
    if ax is not None:
        return ax
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    sizes: Any = {"font.size": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7}
    with mpl.rc_context({**sizes, "axes.linewidth": 0.6, "text.parse_math": False}):
        return plt.subplots(figsize=(width, height), layout="constrained")[1]


def table_of(data: Data, method: str, *arguments: Any, **options: Any) -> pd.DataFrame:
    """Return the DataFrame itself, or what the method of `Results` gives."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data
    try:
        found = getattr(data, method)
    except AttributeError:
        raise InputError(
            f"expected Results, or the DataFrame of `Results.{method}`, not {type(data).__name__}"
        ) from None
    table: pd.DataFrame = found(*arguments, **options) if callable(found) else found
    return table


def needs(table: pd.DataFrame, columns: Sequence[str], method: str) -> None:
    """Raise InputError where a DataFrame lacks a column that is to be drawn."""
    for column in columns:
        if column not in table:
            raise InputError(f"no column {column!r}{did_you_mean(column, map(str, table.columns))}; as of `{method}`")


def looks(data: Data, table: pd.DataFrame, key: str = "candidate") -> dict[str, style.Look]:
    """Return {candidate: its look}: as in every figure of the study, or by the order in a table alone."""
    if hasattr(data, "candidates"):
        return {c.label: style.look(c) for c in data.candidates}
    return {
        name: style.Look(
            style.COLOURS[i % len(style.COLOURS)],
            style.MARKS[i % len(style.MARKS)],
            style.DASHES[i // len(style.COLOURS) % len(style.DASHES)],
        )
        for i, name in enumerate(dict.fromkeys(table[key].astype(str)))
    }


def axis_label(data: Data, column: str) -> str:
    """Return an axis' label: a readable name with its unit or features, and an arrow: which way is better."""
    plain = column.removeprefix("m.")
    if plain in style.UNITS:
        return style.UNITS[plain]
    return f"{readable(data, plain)}{arrow(data, plain)}"


def arrow(data: Data, column: str) -> str:
    """Return ' ↓' where smaller is better, ' ↑' where larger is, and nothing where that is not known."""
    if not hasattr(data, "objective"):
        return ""
    try:
        return " ↑" if data.objective(column).larger_is_better else " ↓"
    except InputError:
        return ""


def readable(data: Data, column: str) -> str:
    """Return a metric's name for people: `KID (efficientnet_lite0)`; its features stand behind it."""
    metric, features = column, ""
    if hasattr(data, "metrics") and "features" in data.metrics:
        known = data.metrics.loc[data.metrics["metric"] == column, "features"].dropna()
        if len(known) and f"_{known.iloc[0]}" in column:
            features = str(known.iloc[0])
            metric = column.replace(f"_{features}", "", 1)
    first, _, rest = metric.partition("_")
    words = [first.upper() if len(first) <= ABBREVIATION else first, *rest.replace("_", " ").split()]
    return printable(" ".join(words) + (f" ({features})" if features else ""))


def short(name: object, most: int = NAME) -> str:
    """Return a candidate's name as it stands in a figure: printable, and not longer than `most` signs."""
    return shortened(printable(name), most)


def finish(ax: Axes, grid: Literal["x", "y"] = "y") -> None:
    """Remove the upper and right spines, draw a light grid, and let few ticks stand, so that they keep apart."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis=grid, color=style.FAINT, linewidth=0.4)
    ax.set_axisbelow(True)
    ax.tick_params(length=2.5, width=0.6)
    if ax.get_xscale() == "linear" and grid == "y":
        ax.locator_params(axis="x", nbins=5)


def logarithmic(ax: Axes, which: Literal["x", "y"], values: NDArray[np.float64], factor: float) -> None:
    """Make an axis logarithmic where positive values span more than a factor; ticks as few as fit a column."""
    from matplotlib.ticker import LogLocator

    values = values[np.isfinite(values)]
    if not len(values) or values.min() <= 0 or values.max() / values.min() <= factor:
        return
    span = float(values.max() / values.min())
    style.logarithmic(ax, which, float(values.min()), float(values.max()))
    few = (1, 2, 5) if span < 15 else (1, 3) if span < 60 else (1,)
    (ax.xaxis if which == "x" else ax.yaxis).set_major_locator(LogLocator(subs=few))


def legend(ax: Axes, columns: int = 2) -> None:
    """Write the legend below the axes, where constrained layout makes room for it, and it covers nothing."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=columns, frameon=False, fontsize=7, handlelength=2.6
        )


def save(figure: Figure | Axes, path: str | Path) -> Path:
    """Write a figure as PDF, SVG or PNG, by the ending of its path: all that is drawn, and nothing around it.

    Text stays text (fonts of type 42, which journals ask for), and the same figure gives the same file. Raises
    InputError for another ending.
    """
    import matplotlib as mpl

    target = nameable(Path(path))
    kind = target.suffix.removeprefix(".").lower()
    if kind not in METADATA:
        raise InputError(f"a figure is written as {', '.join(METADATA)}, not as {target.suffix!r}", str(path))
    drawn: Any = figure if hasattr(figure, "savefig") else figure.figure
    with mpl.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "ablate"}):
        write_with(
            target,
            lambda file: drawn.savefig(
                file, format=kind, metadata=METADATA[kind], bbox_inches="tight", pad_inches=0.03, dpi=300
            ),
        )
    return target
