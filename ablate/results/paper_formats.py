"""The table for a paper as files: CSV, parquet, markdown, LaTeX with booktabs, HTML."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.candidates.objectives import COST_NAMES
from ablate.io import text
from ablate.io.files import nameable, write_atomic
from ablate.results.paper_table import PaperTable, paper_table

if TYPE_CHECKING:
    from ablate.results.analysis import StudyAnalysis

SIGNS = dict.fromkeys((*COST_NAMES.values(), "params"), False)  # costs, and whether larger is better


def write_table(results: StudyAnalysis, to: str, out: str | Path | None = None) -> Path:
    """Write `candidates.<suffix>` in one of `FORMATS`, and return its path.

    out: a folder, `tables/` in the study's folder by default.
    """
    suffix, write = FORMATS[to]
    folder = nameable(Path(out)) if out is not None else results.path / "tables"
    path = folder / f"candidates.{suffix}"
    write_atomic(path, write(paper_table(results)))
    return path


def csv(table: PaperTable) -> str:
    """All digits, a row a candidate; no cell is a formula."""
    plain = {
        str(text.csv(str(name))): [text.csv(v) if isinstance(v, str) else v for v in table[name]] for name in table
    }
    import pandas as pd

    return str(pd.DataFrame(plain).to_csv(index=False, lineterminator="\n"))


def parquet(table: PaperTable) -> bytes:
    """All digits with their types; the caption is in the schema's metadata, as pandas keeps `attrs`."""
    import pandas as pd

    buffer, plain = io.BytesIO(), pd.DataFrame(table)
    plain.attrs = dict(table.attrs)
    for name in plain.columns:  # choices may be numbers and words in one column
        if plain[name].map(lambda value: isinstance(value, str)).any():
            plain[name] = plain[name].map(lambda value: value if value != value else str(value))
    plain.to_parquet(buffer)
    return buffer.getvalue()


def markdown(table: PaperTable) -> str:
    """A GitHub table; its caption stands above."""
    cells, bold = table.cells()
    rows = [
        [f"**{text.markdown(cell)}**" if b else text.markdown(cell) for cell, b in zip(row, marks, strict=True)]
        for row, marks in zip(cells.to_numpy().tolist(), bold.tolist(), strict=True)
    ]
    head = [text.markdown(f"{name}{_arrow(table, str(name))}") for name in cells.columns]
    rule = [":--", *["--:"] * (len(head) - 1)]
    body = "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *rows))
    return f"{text.markdown(table.attrs['caption'])}\n\n{body}"


def latex(table: PaperTable) -> str:
    r"""A `table` with its caption, for `\usepackage{booktabs}`."""
    cells, bold = table.cells()
    rows = [
        " & ".join(_latex(str(cell), b, i > 0) for i, (cell, b) in enumerate(zip(row, marks, strict=True)))
        for row, marks in zip(cells.to_numpy().tolist(), bold.tolist(), strict=True)
    ]
    head = " & ".join(text.latex(f"{name}{_arrow(table, str(name))}") for name in cells.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{text.latex(table.attrs['caption'])}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(cells.columns) - 1)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{row} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def html(table: PaperTable) -> str:
    """A table element with its caption: nothing in it is markup but that."""
    cells, bold = table.cells()
    head = "".join(f'<th scope="col">{escape(f"{name}{_arrow(table, str(name))}")}</th>' for name in cells.columns)
    rows = [
        "".join(
            f"<td>{'<strong>' if b else ''}{escape(str(cell))}{'</strong>' if b else ''}</td>"
            for cell, b in zip(row, marks, strict=True)
        )
        for row, marks in zip(cells.to_numpy().tolist(), bold.tolist(), strict=True)
    ]
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    caption = escape(table.attrs["caption"])
    return f"<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _arrow(table: PaperTable, name: str) -> str:
    directions = {**SIGNS, **{text.printable(key): v for key, v in table.attrs["larger_is_better"].items()}}
    return (" ↑" if directions[name] else " ↓") if name in directions else ""


def _latex(cell: str, bold: bool, numeric: bool) -> str:
    escaped = text.latex(cell)
    if numeric and "±" in cell:
        formula = cell.replace("±", r"\pm").replace("−", "-")
        return rf"$\mathbf{{{formula}}}$" if bold else f"${formula}$"
    return rf"\textbf{{{escaped}}}" if bold else escaped


FORMATS: dict[str, tuple[str, Callable[[PaperTable], str | bytes]]] = {
    "csv": ("csv", csv),
    "parquet": ("parquet", parquet),
    "markdown": ("md", markdown),
    "latex": ("tex", latex),
    "html": ("html", html),
}
