"""The end of a run, told in the terminal: a table, a verdict, and where the files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.errors import InputError
from ablate.results.tables import formatted, grouped
from ablate.results.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from ablate.results.results import Results


def renderable(results: Results) -> RenderableType:
    """For a terminal: print it with `rich.console.Console`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    numbers = grouped(results)
    cells = formatted(results, numbers)
    table = Table(title=Text(results.name, style="bold"), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for name in cells.columns:
        left = name == "candidate"
        table.add_column(Text(name), justify="left" if left else "center" if name == "front" else "right", no_wrap=left)
    for i, row in enumerate(cells.itertuples(index=False)):
        on_front = bool(numbers["on_front"].iloc[i])
        lost = not numbers["n"].iloc[i]
        table.add_row(*(Text(str(c)) for c in row), style="green" if on_front else "dim" if lost else None)
    parts: list[RenderableType] = [table, Padding(Text(verdict(results)), (1, 0, 0, 0))]
    if notes := _notes(results, numbers):
        parts.append(Text("\n".join(notes), style="dim"))
    if warned := _warned(results, numbers):
        parts.append(Text("\n".join(warned), style="yellow"))
    parts.append(Text(_where(results), style="dim"))
    return Group(*parts)


def plain(results: Results) -> str:
    """The same as text without markup: columns by spaces, for logs and pipes."""
    numbers = grouped(results)
    cells = formatted(results, numbers)
    lines = [list(cells.columns), *([str(c) for c in row] for row in cells.itertuples(index=False))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(cells.columns))]
    text = [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    told = [results.name, *text, "", verdict(results), *_notes(results, numbers), *_warned(results, numbers)]
    return "\n".join([*told, _where(results)]) + "\n"


def _notes(results: Results, numbers: pd.DataFrame) -> list[str]:
    """What the marks in the table mean."""
    marks = ["n: complete seeds", "±: standard deviation over them"] if len(numbers) else []
    if len(numbers) and numbers["on_front"].any():
        front = results.front()
        objectives = ", ".join(front.attrs["objectives"])
        marks.append(f"●: on the front of {objectives}")
    if "violates" in numbers and (numbers["violates"] != "").any():
        marks.append("×: beyond a constraint")
    if "p_holm" in numbers:
        marks.append("p: against the baseline, paired by seed")
    return [*_scaling(results), *(["; ".join(marks)] if marks else [])]


def _scaling(results: Results) -> list[str]:
    """How quality follows cost, where the candidates' costs differ enough to say."""
    goal = results.quality
    if goal is None or goal.is_recorded:
        return []
    try:
        return [f"{goal.column}: {results.scaling(goal.column)}"]
    except InputError:
        return []


def _warned(results: Results, numbers: pd.DataFrame) -> list[str]:
    return [f"warning: {w}" for w in [*numbers.attrs["problems"], *results.warnings]]


def _where(results: Results) -> str:
    pictures = results.path / "figures"
    names = sorted(p.name for p in pictures.glob("*.png")) if pictures.is_dir() else []
    return f"files: {results.path}" + (f" (figures/{', '.join(names)})" if names else "")
