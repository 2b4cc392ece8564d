"""What every command prints with: tables for people and for pipes, JSON, durations."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

NUMERIC = set("0123456789+-−.±–~ ")


def lively() -> bool:
    """Whether stdout is a terminal that can be drawn on: no pipe, and more than a `dumb` one."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def console() -> Console:
    """A rich console on stdout that changes nothing of what it is given; NO_COLOR is respected."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", wrap: str = "") -> None:
    """Print a table: drawn and wrapped in a terminal, whole lines of aligned text elsewhere.

    wrap: the one column whose cells may be broken over lines; all others stay whole.
    """
    right = [bool(rows) and all(_numeric(row[i]) for row in rows) for i in range(len(columns))]
    if lively():
        _draw(columns, rows, right, title, wrap)
        return
    lines = [list(columns), *([cell.replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    if title:
        print(title)
    for line in lines:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        print("  ".join(cells).rstrip())


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], title: str, wrap: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", title=Text(title, style="bold") if title else None)
    drawn.title_justify = "left"
    for name, numeric in zip(columns, right, strict=True):
        drawn.add_column(Text(name), justify="right" if numeric else "left", no_wrap=bool(wrap) and name != wrap)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console().print(drawn)


def emit_json(data: Any) -> None:
    """Print JSON that any program reads: NaN and infinity become null."""
    print(json.dumps(_finite(data), indent=2, allow_nan=False, ensure_ascii=False, default=str))


def duration(seconds: float) -> str:
    """`< 1 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if not math.isfinite(seconds):
        return "–"
    if 0 < seconds < 0.5:
        return "< 1 s"
    rest = max(0, round(seconds))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        parts.append((rest // length, unit))
        rest %= length
    first = next((i for i, (n, _) in enumerate(parts) if n), len(parts) - 1)
    shown = [parts[first], *((n, unit) for n, unit in parts[first + 1 : first + 2] if n)]
    return " ".join(f"{n} {unit}" for n, unit in shown)


def size(count: float) -> str:
    """Bytes with a binary prefix: `17.2 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def _numeric(cell: str) -> bool:
    """Whether a cell is a number, with a unit prefix perhaps, or missing."""
    text = cell.strip()
    return text == "" or (any(c.isdigit() or c == "–" for c in text) and set(text.rstrip("kMGB")) <= NUMERIC)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
