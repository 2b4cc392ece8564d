"""The summary of a study for terminals and notebooks: a table, the verdict, and where the files are."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.errors import InputError
from ablate.io.columns import Column, drawn, layout
from ablate.io.text import message
from ablate.results.inherited import inherited
from ablate.results.isoflops import isoflops_of
from ablate.results.numbers import number
from ablate.results.remarks import remarks
from ablate.results.searches.confirmed import confirmed
from ablate.results.tables import formatted, grouped
from ablate.results.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from ablate.results.analysis import StudyAnalysis


FRONT_CHANCE = "; %: how probably, as far as the seeds tell"
MOST = 200  # candidates that a table is shown of; of more, the best and the front


class Summary:
    """The summary as an object that terminals (`rich`), notebooks (HTML) and `str` show, each in its own way."""

    def __init__(self, results: StudyAnalysis) -> None:
        self.results = results

    def __rich__(self) -> RenderableType:
        """For a terminal: print it with `rich.console.Console`."""
        return renderable(self.results)

    def __str__(self) -> str:
        return plain(self.results)

    def _repr_html_(self) -> str:
        """For a notebook."""
        results = self.results
        numbers, rest = _shown(grouped(results))
        cells = formatted(results, numbers)
        head = "".join(f"<th>{_html(name)}</th>" for name in cells.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in cells.itertuples(index=False)
        )
        lines = [*rest, verdict(results), *_notes(results, numbers), *_warnings(results, numbers), _files(results)]
        below = "".join(f"<p>{_html(line)}</p>" for line in lines)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        # The class keeps a notebook from taking what stands between two dollars for a formula.
        return f'<div class="tex2jax_ignore mathjax_ignore"><h3>{_html(results.name)}</h3>{table}{below}</div>'


def renderable(results: StudyAnalysis) -> RenderableType:
    """Format the summary for a terminal: print it with `rich.console.Console`."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    numbers, rest = _shown(grouped(results))

    def style(row: int) -> str | None:
        return "green" if numbers["on_front"].iloc[row] else None if numbers["n"].iloc[row] else "dim"

    table = drawn(_columns(formatted(results, numbers)), results.name, style)
    parts: list[Any] = [Text(""), table, Padding(Text(message(verdict(results))), (1, 0, 0, 0))]
    if notes := [*rest, *_notes(results, numbers)]:
        parts.append(Text(message("\n".join(notes)), style="dim"))
    if warnings := _warnings(results, numbers):
        parts.append(Text(message("\n".join(warnings)), style="yellow"))
    parts.append(Text(message(_files(results)), style="dim", overflow="fold"))
    return Group(*parts)


def plain(results: StudyAnalysis) -> str:
    """Format the summary as text without markup: columns by spaces, for logs and pipes."""
    numbers, rest = _shown(grouped(results))
    lines = [line.text for line in layout(_columns(formatted(results, numbers)), None, rule=False)]
    notes = [*rest, verdict(results), *_notes(results, numbers), *_warnings(results, numbers), _files(results)]
    return "\n".join([results.name, *lines, "", *map(message, notes)]) + "\n"


def _shown(numbers: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that are shown, and a line on the others, where they are too many to be read."""
    if len(numbers) <= MOST:
        return numbers, []
    front = numbers["on_front"].to_numpy(dtype=bool)
    rows = numbers[(np.arange(len(numbers)) < MOST) | front]
    rows.attrs = numbers.attrs
    where = "`ablate export` has them all"
    return rows, [f"the best {MOST} of {len(numbers):,} candidates, and those on the front; {where}"]


def _columns(cells: pd.DataFrame) -> list[Column]:
    return [
        Column(str(name), tuple(map(str, cells[name])), right=name != "candidate", name=name == "candidate")
        for name in cells.columns
    ]


def _html(value: object) -> str:
    return escape(message(value))


def _notes(results: StudyAnalysis, numbers: pd.DataFrame) -> list[str]:
    """Explain the marks in the table."""
    marks = ["n: complete seeds", "±: standard deviation over them"] if len(numbers) else []
    if results.lock.get("seeding") and len(numbers) and numbers["n"].nunique() > 1:
        marks.append("means as if all had the same seeds (least squares)")
    if len(numbers) and numbers["on_front"].any():
        front = results.front()
        objectives = ", ".join(front.attrs["objectives"])
        marks.append(f"●: on the front of {objectives}" + (FRONT_CHANCE if not numbers.attrs["unsure"] else ""))
    if (times := numbers.attrs["time_to_quality"]) is not None:
        marks.append(
            f"Gflops to {number(times['value'])}: of training until {times['metric']} on {times['samples']} samples "
            "reaches that, with its 95 % interval"
        )
    if "violates" in numbers and results.lock.get("constraints") and (numbers["violates"] != "").any():
        marks.append("×: beyond a constraint")
    if inherited(results.trials):
        marks.append("×: began with the weights of a parent; front(starts='inherited') is the front of those")
    if numbers.attrs["pairs"] == 1:
        marks.append("one seed each: the order is what was drawn once, and tells no two candidates apart")
        if confirmed(results) is None:
            marks.append("confirm the first ones on fresh seeds (ablate run … --confirm 3)")
    elif "p_holm" in numbers:
        marks.append("p: against the baseline, paired by seed")
    said = [*_scaling(results), *remarks(results, numbers)]
    return [*said, *(["; ".join(marks)] if marks else []), *_assumed(results), *_reused(results)]


def _assumed(results: StudyAnalysis) -> list[str]:
    """Say what the declared test assumes of these runs, and whether that can be seen to hold."""
    try:
        told = results.effects().attrs if results.declared.is_own and results.states.get("complete") else {}
    except InputError:  # no metric, no baseline: nothing was compared
        return []
    said = told.get("assumptions") or []
    return [f"of the test: {'; '.join(said)}"] if said else []


def _reused(results: StudyAnalysis) -> list[str]:
    """Say how many trials were taken from which other folders, and how many went on from trials there."""
    lines = {"origin": "were reused from", "continued_from": "went on from shorter trainings in"}
    return [
        f"{count} trials {what} {folder}"
        for column, what in lines.items()
        if column in results.trials
        for folder, count in results.trials[column].value_counts().items()
    ]


def _scaling(results: StudyAnalysis) -> list[str]:
    """Describe the scaling law, where the candidates' costs differ enough for one."""
    goal = results.quality
    if goal is None or goal.is_recorded:
        return []
    try:
        lines = [f"{goal.column}: {results.scaling(goal.column)}"]
    except InputError:
        return []
    try:
        found = isoflops_of(results, goal, "params")
    except InputError:  # not measured during training, or not at one compute
        return lines
    return [*lines, f"{goal.column}: {found}"]


def _warnings(results: StudyAnalysis, numbers: pd.DataFrame) -> list[str]:
    return [f"warning: {w}" for w in [*numbers.attrs["problems"], *results.warnings]]


def _files(results: StudyAnalysis) -> str:
    pictures = results.path / "figures"
    names = sorted(p.name for p in pictures.glob("*.png")) if pictures.is_dir() else []
    return f"files: {results.path}" + (f" (figures/{', '.join(names)})" if names else "")
