"""The style of all figures: the theme, and each candidate's colour, mark and dash."""

from __future__ import annotations

import contextlib
import textwrap
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ablate.io.text import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    from ablate.candidates.objectives import Objective
    from ablate.results.candidates import CandidateRow

INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
BASELINE = "#3a3a3a"
# seaborn's colour-blind palette without its yellow and pink, which are too pale on white.
COLOURS = ("#0173b2", "#d55e00", "#029e73", "#cc78bc", "#de8f05", "#56b4e9", "#ca9161", "#949494")
DENSE = 2000  # points of which a picture becomes one area
MARGIN = 0.15  # inches around what is drawn
MARKS = ("o", "s", "D", "^", "v", "h", "<", ">", "p", "X")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))

UNITS = {
    "gflops": "Gflops (forward, one image)",
    "sample_gflops": "Gflops a sample",
    "train_gflops": "training Gflops",
    "params": "parameters",
    "macs": "multiply-accumulates",
    "seconds": "seconds",
    "train_seconds": "seconds of training",
    "evaluate_seconds": "seconds of evaluation",
    "peak_memory_bytes": "peak memory (bytes)",
    "train_memory_bytes": "memory of training (bytes)",
    "images": "training images",
}


class Look(NamedTuple):
    """How one candidate is drawn, the same in every figure."""

    colour: str
    mark: str
    dash: Any


def look(candidate: CandidateRow) -> Look:
    """Return how a candidate is drawn: the baseline dark, the others by their place in the study."""
    if candidate.baseline:
        return Look(BASELINE, "o", "-")
    i = candidate.index
    return Look(COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)], DASHES[i // len(COLOURS) % len(DASHES)])


@contextlib.contextmanager
def theme() -> Iterator[None]:
    """Set matplotlib's theme inside a `with` block; the caller's own settings come back after it."""
    import matplotlib as mpl
    import seaborn as sns

    settings: Any = {
        "figure.dpi": 100,
        "savefig.dpi": 180,
        "svg.hashsalt": "ablate",
        "text.parse_math": False,  # a dollar in a label is a dollar
        "text.usetex": False,
        "axes.formatter.use_mathtext": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.labelsize": 10.5,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "grid.color": "#ececec",
        "axes.axisbelow": True,
    }
    with mpl.rc_context(), sns.axes_style("ticks"), warnings.catch_warnings():
        mpl.rcParams.update(settings)
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as a box
        yield


def drawn_area(figure: Figure) -> Bbox:
    """Return the area in inches that all of a figure covers, with its margin: found once for files of all formats."""
    from matplotlib import rcParams

    dpi = figure.dpi
    figure.dpi = float(rcParams["savefig.dpi"])
    area = figure.get_tightbbox(renderer(figure)).padded(MARGIN)
    figure.dpi = dpi
    return area


def renderer(figure: Figure) -> RendererBase:
    """Return what measures a figure's texts at its resolution; made once for all of them, each would make its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    made: RendererBase = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    return made


def dot(size: float, count: int) -> float:
    """Return the size of one of many points: smaller beyond 2,000, so that they cover no more in all."""
    return size * min(1.0, DENSE / max(count, 1))


def axis_label(objective: Objective) -> str:
    """Return the axis' label: the objective and which way is better."""
    if objective.is_cost:
        return UNITS.get(objective.column, objective.column)
    return f"{objective.column}   ({'higher' if objective.larger_is_better else 'lower'} is better)"


def column_label(objective: Objective) -> str:
    """Return an objective's name for people, without the direction."""
    return UNITS.get(objective.column, objective.column) if objective.is_cost else objective.column


def title(axes: Axes, text: str, sub: str = "", left: float = 0, up: float = 0) -> None:
    """Write a left-aligned title above a quieter line, `left` and `up` points from the axes' corner."""
    text = textwrap.fill(label(text, 300), 68)
    sub = "\n".join(textwrap.fill(line, 112) for line in sub.splitlines())
    above = up + 13 + 12 * len(sub.splitlines())
    axes.annotate(
        text, (0, 1), (left, above), "axes fraction", "offset points", fontsize=13, fontweight="bold", va="bottom"
    )
    axes.annotate(sub, (0, 1), (left, up + 9), "axes fraction", "offset points", fontsize=9, color=MUTED, va="bottom")


def finish(axes: Axes, grid: str = "y") -> None:
    """Remove the upper and right spines, and draw a light grid."""
    import seaborn as sns

    sns.despine(ax=axes, trim=False)
    axes.grid(True, axis=grid)  # type: ignore[arg-type]
    axes.tick_params(length=3, width=0.8)


def logarithmic(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Make an axis logarithmic; its ticks are plain numbers (1, 2, 5, 10 …)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def thousands(axes: Axes) -> None:
    """Format the ticks of a horizontal axis of counts as 50k and 1.5M."""
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _: object) -> str:
        for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:g}{unit}"
        return f"{value:g}"

    axes.xaxis.set_major_formatter(FuncFormatter(text))
