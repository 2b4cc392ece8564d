"""The study's table as files: CSV for programs, markdown and LaTeX for papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ablate.candidates.names import show
from ablate.candidates.objectives import COST_NAMES
from ablate.errors import InputError, did_you_mean
from ablate.io import text
from ablate.io.files import nameable, write_atomic
from ablate.results.tables import formatted, grouped

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis


def export(
    results: StudyAnalysis, out: str | Path | None = None, formats: Sequence[str] = ("csv", "md", "tex")
) -> list[Path]:
    """Write `table.<format>` in each format, seeds grouped to mean ± standard deviation; return the paths.

    out: a folder, `tables/` in the study's folder by default. Raises InputError for an unknown format.
    """
    folder = nameable(Path(out)) if out is not None else results.path / "tables"
    if unknown := [f for f in formats if f not in WRITERS]:
        raise InputError(f"there is no format {unknown[0]!r}{did_you_mean(unknown[0], WRITERS)}")
    paths = []
    for name in formats:
        paths.append(folder / f"table.{name}")
        write_atomic(paths[-1], WRITERS[name](results))
    return paths


def csv(results: StudyAnalysis) -> str:
    """Format the table as CSV with all digits, a row a candidate; `<metric>.sd` is the deviation over seeds."""
    table = grouped(results)
    text_columns = [c for c in table.columns if table[c].dtype == object or str(table[c].dtype).startswith("str")]
    for column in text_columns:
        table[column] = table[column].map(text.csv)
    table.columns = [str(text.csv(str(column))) for column in table.columns]
    return str(table.to_csv(index=False, lineterminator="\n"))


def markdown(results: StudyAnalysis) -> str:
    """Format the table as a GitHub markdown table."""
    cells = _cells(results)
    rule = [":--" if name == "candidate" else "--:" for name in cells.columns]
    rows = [[str(c) for c in row] for row in cells.itertuples(index=False)]
    lines = [[text.markdown(c) for c in line] for line in [list(cells.columns), *rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], rule, *lines[1:]])


def latex(results: StudyAnalysis) -> str:
    r"""Format a `booktabs` table (`\usepackage{booktabs}`): candidate, cost, metrics ± deviation over seeds, n.

    An arrow in the head says which way is better. The best mean of a metric is bold where it rests on two seeds or
    more; a comment on top says so, and what is the same for every candidate, which takes no column.
    """
    numbers = grouped(results)
    cells = formatted(results, numbers, sign=r"\pm")
    metrics = [name for name in numbers.attrs["metrics"] if name in cells]
    costs = [name for name in (*COST_NAMES.values(), "params") if name in cells]
    cells = cells[["candidate", *costs, *metrics, "n"]]
    same = [c for c in (*costs, "n") if len(cells) > 1 and cells[c].nunique() == 1]
    comments = ["mean \u00b1 standard deviation over n seeds"]
    comments += [f"{name}: {cells[name].iloc[0]} for every candidate" for name in same]
    best = {name: _best(results, name, numbers) for name in metrics}
    if any(row is not None for row in best.values()):
        comments.append("bold: the best mean, where it is of two seeds or more; no statement on significance")
    cells = cells.drop(columns=same)
    body = [
        " & ".join(
            _latex_cell(str(name), str(cell), name in best, best.get(str(name)) == i) for name, cell in row.items()
        )
        for i, row in enumerate(cells.to_dict("records"))
    ]
    head = " & ".join(text.latex(name) + _arrow(results, str(name), metrics) for name in cells.columns)
    spec = "l" + "r" * (len(cells.columns) - 1)
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", rf"{head} \\", r"\midrule"]
    lines += [rf"{line} \\" for line in body]
    head_comments = [f"% {text.printable(comment)}" for comment in comments]
    return "\n".join([*head_comments, *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_cell(name: str, cell: str, metric: bool, bold: bool) -> str:
    if not metric:
        return text.latex(cell)
    if cell == "–":
        return "--"
    return rf"$\mathbf{{{cell}}}$" if bold else f"${cell}$"


def _arrow(results: StudyAnalysis, name: str, metrics: Sequence[str]) -> str:
    """Return an arrow for the direction that is better: that of a metric; down for a cost."""
    if name not in (*metrics, *COST_NAMES.values(), "params"):
        return ""
    larger = name in metrics and results.objective(name).larger_is_better
    return r" $\uparrow$" if larger else r" $\downarrow$"


WRITERS: dict[str, Callable[[StudyAnalysis], str]] = {"csv": csv, "md": markdown, "tex": latex}


def _cells(results: StudyAnalysis) -> pd.DataFrame:
    """Return the formatted table, with a column for each choice where there are several paths."""
    numbers = grouped(results)
    cells = formatted(results, numbers)
    paths = [c for c in numbers.columns if c.startswith("c.")]
    if len(paths) > 1:
        for place, path in enumerate(paths, start=1):
            cells.insert(place, path[2:], ["–" if pd.isna(v) else show(v) for v in numbers[path]])
    return cells


def _best(results: StudyAnalysis, metric: str, numbers: pd.DataFrame) -> int | None:
    """Return the row of the best mean; None where none rests on two seeds, so that chance is not set in bold."""
    signed = numbers[metric].astype(float) * results.objective(metric).sign
    if not signed.notna().any():
        return None
    best = int(signed.to_numpy().argsort(kind="stable")[0])
    return best if numbers["n"].iloc[best] > 1 and signed.notna().sum() > 1 else None
