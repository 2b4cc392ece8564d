"""The study's table as files: CSV for programs, markdown and LaTeX for papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ablate.errors import InputError, did_you_mean
from ablate.files import write_atomic
from ablate.results.candidates import show
from ablate.results.tables import formatted, grouped

if TYPE_CHECKING:
    from ablate.results.results import Results


def export(
    results: Results, out: str | Path | None = None, formats: Sequence[str] = ("csv", "md", "tex")
) -> list[Path]:
    """Write `table.<format>` in each format, seeds grouped to mean ± standard deviation; their paths.

    out: a folder, `tables/` in the study's folder by default. Raises InputError for an unknown format.
    """
    folder = Path(out) if out is not None else results.path / "tables"
    if unknown := [f for f in formats if f not in WRITERS]:
        raise InputError(f"there is no format {unknown[0]!r}{did_you_mean(unknown[0], WRITERS)}")
    paths = []
    for name in formats:
        paths.append(folder / f"table.{name}")
        write_atomic(paths[-1], WRITERS[name](results))
    return paths


def csv(results: Results) -> str:
    """Numbers in full: a row a candidate; `<metric>` is the mean, `<metric>.sd` the deviation over seeds."""
    return str(grouped(results).to_csv(index=False, lineterminator="\n"))


def markdown(results: Results) -> str:
    """A GitHub table."""
    cells = _cells(results)
    rule = [":--" if name == "candidate" else "--:" for name in cells.columns]
    rows = [[str(c) for c in row] for row in cells.itertuples(index=False)]
    lines = [[_escape_markdown(c) for c in line] for line in [list(cells.columns), *rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in [lines[0], rule, *lines[1:]])


def latex(results: Results) -> str:
    r"""A `booktabs` table (`\usepackage{booktabs}`); the best mean of each metric is bold."""
    numbers = grouped(results)
    cells = _cells(results, numbers, sign=r"\pm")
    body = []
    for i, row in enumerate(cells.itertuples(index=False)):
        line = []
        for name, cell in zip(cells.columns, row, strict=True):
            text = str(cell)
            if name in numbers.attrs["metrics"]:
                best = _best(results, name, numbers)
                text = "--" if text == "–" else f"${text}$" if best != i else rf"$\mathbf{{{text}}}$"
            elif text == "●":
                text = r"$\bullet$"
            else:
                text = _escape_latex(text)
            line.append(text)
        body.append(" & ".join(line) + r" \\")
    head = " & ".join(_escape_latex(str(c)) for c in cells.columns) + r" \\"
    spec = "l" + "r" * (len(cells.columns) - 1)
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


WRITERS: dict[str, Callable[[Results], str]] = {"csv": csv, "md": markdown, "tex": latex}


def _cells(results: Results, numbers: pd.DataFrame | None = None, sign: str = "±") -> pd.DataFrame:
    """The formatted table, with a column for each choice where there are several paths."""
    numbers = grouped(results) if numbers is None else numbers
    cells = formatted(results, numbers, sign)
    paths = [c for c in numbers.columns if c.startswith("c.")]
    if len(paths) > 1:
        for place, path in enumerate(paths, start=1):
            cells.insert(place, path[2:], ["–" if pd.isna(v) else show(v) for v in numbers[path]])
    return cells


def _best(results: Results, metric: str, numbers: pd.DataFrame) -> int | None:
    signed = numbers[metric].astype(float) * results.objective(metric).sign
    return int(signed.to_numpy().argsort(kind="stable")[0]) if signed.notna().any() else None


def _escape_markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("_", r"\_")


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    "–": "--",
}
