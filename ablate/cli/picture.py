"""`ablate plugins show KIND[/NAME] --plot`: a kind's components as curves, the one in question above the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.errors import InputError
from ablate.kinds.fitted import Fitted
from ablate.spec.component import InputSpec

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ablate.discovery.catalog import Catalog

SUFFIXES = (".png", ".svg", ".pdf")
METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "ablate"},
    ".svg": {"Date": None, "Creator": "ablate"},
}  # none that changes from day to day
SETTING = InputSpec((3, 256, 256), 1000)  # of the data for which curves are drawn
SIGMA_DATA = 0.5  # of the data for which weights are drawn
REACH = 8.0  # of log SNR that is drawn, to both sides of 0
ALIKE = 1e-9  # relative difference below which two lines are one, and share a name
OTHERS = "#b4b4b4"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (2, 1)))


class Line(NamedTuple):
    """A component's curve; `highlighted` is the one that the picture is about."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    highlighted: bool = False


def picture(kind: str, name: str | None, out: Path | None, catalog: Catalog) -> Path:
    """Draw the components of a kind with their defaults, and write the picture to a file, whose path it gives.

    name: the one that stands out; None: all alike. out: a .png, .svg or .pdf file; `<kind>-<name>.png`
    in the working directory by default. Raises InputError for a kind that has no curve.
    """
    from ablate.io.files import nameable, write_with
    from ablate.results.figures import style

    if kind not in DRAWINGS:
        raise InputError(f"there is no picture of a {kind}; there is one of {', '.join(DRAWINGS)}", "--plot")
    stem = f"{kind}-{name}".replace(":", "-") if name else kind
    path = nameable(out or Path(f"{stem}.png"), "--out")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"a picture is written as {', '.join(SUFFIXES)}, not as {path.name!r}", f"--out {path}")
    highlighted = catalog.entry(kind, name).full_name if name else None
    with style.theme():
        figure = DRAWINGS[kind](catalog, highlighted)
        metadata = {".png": {"Software": "ablate"}, ".svg": {"Date": None, "Creator": "ablate"}}.get(
            path.suffix.lower()
        )
        write_with(
            path,
            lambda file: figure.savefig(
                file, format=path.suffix[1:].lower(), metadata=metadata, bbox_inches="tight", pad_inches=0.15, dpi=110
            ),
        )
    return path


def _schedules(catalog: Catalog, highlighted: str | None) -> Figure:
    """Draw log SNR over time."""
    import torch
    from matplotlib.figure import Figure

    from ablate.results.figures import style

    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    lines = [
        Line(name, t.numpy(), one.log_snr(t).clamp(-100, 100).numpy(), full == highlighted)
        for full, name, one in _components(catalog, "schedule")
    ]
    figure = Figure(figsize=(7.6, 4.6))
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.1, right=0.8, bottom=0.12, top=0.86)
    axes.axhline(0, color=style.FAINT, linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_ylim(-16, 16)
    axes.set_xlabel("time t, from clean to noise")
    axes.set_ylabel("log SNR = log(α²/σ²)")
    _lines(axes, _merged(lines), with_names=True)
    style.title(
        axes, _titled("Signal-to-noise ratio of the schedules", highlighted), "above 0 there is more signal than noise"
    )
    style.finish(axes)
    return figure


def _levels(catalog: Catalog, highlighted: str | None) -> Figure:
    """Draw densities over ln(σ/α), a panel a schedule: the same distribution of times is another of noise levels."""
    import numpy as np
    import torch
    from matplotlib.figure import Figure

    from ablate.results.figures import style

    schedules = _components(catalog, "schedule")
    columns = min(4, len(schedules))
    rows = -(-(len(schedules) + 1) // columns)  # and one place for the names
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.25 * rows + 0.7))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    figure.subplots_adjust(left=0.065, right=0.99, bottom=0.14, top=0.86, wspace=0.1, hspace=0.28)
    s = torch.linspace(-7, 7, 701, dtype=torch.float64)
    for i, (axes, (_, name, schedule)) in enumerate(zip(grid, schedules, strict=False)):
        ends = -schedule.log_snr(torch.tensor([0.0, 1.0], dtype=torch.float64)) / 2
        t = schedule.time(-2 * s)
        inside = (s > ends[0]) & (s < ends[1])
        lines = []
        for full, level_name, levels in _components(catalog, "levels"):
            density = levels.density(t, schedule) * 2 / schedule.slope(t.clamp(1e-9, 1 - 1e-9)).abs()
            lines.append(Line(level_name, s.numpy(), _within(density.numpy(), inside.numpy()), full == highlighted))
        _lines(axes, lines, with_names=False)
        axes.set_title(name, fontsize=9.5, loc="left", pad=3)
        axes.set_xlim(-7, 7)
        axes.set_ylim(0, 0.7)
        axes.set_yticks(np.arange(0, 0.7, 0.2))
        if i % columns == 0:
            axes.set_ylabel("density")
        if i + columns >= len(schedules):
            axes.set_xlabel("ln(σ/α)")
            axes.tick_params(labelbottom=True)
        style.finish(axes)
    for axes in grid[len(schedules) :]:
        axes.set_axis_off()
    handles, names = grid[0].get_legend_handles_labels()
    grid[len(schedules)].legend(handles, names, loc="center left", frameon=False, fontsize=9.5, handlelength=2.6)
    subtitle = "which noise levels training sees under each schedule"
    style.title(grid[0], _titled("Density of noise levels", highlighted), subtitle, up=14)
    return figure


def _weightings(catalog: Catalog, highlighted: str | None) -> Figure:
    """Draw weights over log SNR, on the error of x0 and on that of the noise."""
    import torch
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    from ablate.kinds.noised import Level
    from ablate.results.figures import style

    log_snr = torch.linspace(-REACH, REACH, 801, dtype=torch.float64)
    level = Level(torch.full_like(log_snr, 0.5), log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt())
    weights = [
        (full, name, one.weight(level.guarded, SIGMA_DATA)) for full, name, one in _components(catalog, "weighting")
    ]
    figure = Figure(figsize=(10.6, 4.5))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.87, bottom=0.13, top=0.85, wspace=0.2)
    for axes, factor, error in ((left, 1 / level.snr, "error of ε"), (right, 1.0, "error of x0")):
        lines = [Line(name, log_snr.numpy(), (w * factor).numpy(), full == highlighted) for full, name, w in weights]
        axes.set_yscale("log")
        axes.set_ylim(2e-4, 5e3)
        axes.xaxis.set_major_locator(MultipleLocator(4))
        axes.set_xlim(-REACH, REACH)
        axes.set_xlabel("log SNR (noise on the left, image on the right)")
        axes.set_ylabel(f"weight on the squared {error}")
        _lines(axes, _merged(lines), with_names=axes is right)
        style.finish(axes)
    subtitle = f"for α² + σ² = 1, data of deviation {SIGMA_DATA:g}, apply: x0; both panels show the same weights"
    style.title(left, _titled("Loss weightings", highlighted), subtitle)
    return figure


DRAWINGS: dict[str, Callable[[Catalog, str | None], Figure]] = {
    "schedule": _schedules,
    "levels": _levels,
    "weighting": _weightings,
}


def _titled(text: str, highlighted: str | None) -> str:
    return f"{text}: {highlighted.rpartition(':')[2]}" if highlighted else text


def _components(catalog: Catalog, kind: str) -> list[tuple[str, str, Any]]:
    """Return (full name, name, component with its defaults) of each that has defaults."""
    components = []
    for entry in catalog.entries(kind):
        with contextlib.suppress(InputError):
            component = catalog.create(kind, entry.full_name)
            fitted = component.for_setting(SETTING) if isinstance(component, Fitted) else component
            components.append((entry.full_name, entry.name, fitted))
    return components


def _lines(axes: Axes, lines: Sequence[Line], with_names: bool) -> None:
    """Draw the lines, the highlighted one last; `with_names`: with their names at the right end."""
    from ablate.results.figures import style

    alike = not any(line.highlighted for line in lines)
    ends: list[tuple[Line, str]] = []
    for i, line in enumerate(lines):
        colour = style.COLOURS[i % len(style.COLOURS)] if alike else style.COLOURS[0] if line.highlighted else OTHERS
        dash = DASHES[i % len(DASHES)] if not line.highlighted else "-"
        width = 1.8 if alike else 2.8 if line.highlighted else 1.2
        axes.plot(
            line.x,
            line.y,
            color=colour,
            linestyle=dash,
            linewidth=width,
            label=line.name,
            zorder=3 if line.highlighted else 2 if dash == "-" else 2.5,  # what is dashed lets the line below be seen
        )
        ends.append((line, colour))
    if with_names:
        _names(axes, ends)


def _merged(lines: Sequence[Line]) -> list[Line]:
    """Merge lines that coincide into one under all their names."""
    import numpy as np

    merged: list[Line] = []
    for line in lines:
        for i, other in enumerate(merged):
            if np.allclose(line.y, other.y, rtol=ALIKE, atol=0):
                highlighted = other.highlighted or line.highlighted
                merged[i] = other._replace(name=f"{other.name}, {line.name}", highlighted=highlighted)
                break
        else:
            merged.append(line)
    return merged


def _within(y: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a curve that falls to zero where its range ends, and is not drawn beyond."""
    import numpy as np

    beside = np.convolve(inside, [1, 1, 1], mode="same") > 0
    return np.where(inside, np.nan_to_num(y, posinf=0), np.where(beside, 0.0, np.nan))


def _names(axes: Axes, ends: Sequence[tuple[Line, str]]) -> None:
    """Draw names beside the right ends of the lines, apart from each other."""
    from ablate.results.figures.place import spread

    frame = axes.get_window_extent()
    low, high = axes.get_ylim()
    size = 9.5
    height = size * 1.4 * axes.figure.dpi / 72
    at = [float(axes.transData.transform((line.x[-1], min(max(line.y[-1], low), high)))[1]) for line, _ in ends]
    centres = spread(at, [height] * len(at), frame.y0, frame.y1)
    for (line, colour), centre_of_line, centre in zip(ends, at, centres, strict=True):
        target, y = ((value - frame.y0) / frame.height for value in (centre_of_line, centre))
        faint = colour == OTHERS
        axes.plot(
            [1.005, 1.02, 1.03], [target, y, y], color=colour, linewidth=0.9, transform=axes.transAxes, clip_on=False
        )
        axes.text(
            1.036,
            y,
            line.name,
            color="#777777" if faint else colour,
            fontsize=size,
            fontweight="bold" if line.highlighted else "normal",
            va="center",
            transform=axes.transAxes,
        )
