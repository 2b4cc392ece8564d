"""Output of every command: tables for people and for pipes, JSON, durations."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from ablate.io import text
from ablate.runtime import stdout

if TYPE_CHECKING:
    from rich.console import Console

NUMERIC = set("0123456789+-−.±–~ ")


def lively() -> bool:
    """Return whether stdout is a terminal that can be drawn on: no pipe, and more than a `dumb` one."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def console() -> Console:
    """Return a rich console on stdout that changes nothing of what it is given; NO_COLOR is respected."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", wrap: str = "", names: Sequence[str] = ()
) -> None:
    """Print a table: drawn and fitted to the width of a terminal, whole lines of aligned text elsewhere.

    wrap: the one column whose cells may be broken over lines. names: those whose cells may lose their middle, the
    first by default; all others stay whole, in a block of their own where they do not fit.
    """
    from ablate.io.columns import Column, drawn, layout

    fitted = [
        Column(
            name,
            tuple(row[i] for row in rows),
            right=bool(rows) and all(_numeric(row[i]) for row in rows),
            wrap=bool(wrap) and name == wrap,
            name=(name in names or (i == 0 and not names)) and name != wrap,
        )
        for i, name in enumerate(columns)
    ]
    if lively():
        console().print(drawn(fitted, title))
        return
    flat = [replace(column, cells=tuple(cell.replace("\n", " ") for cell in column.cells)) for column in fitted]
    if title:
        print(text.label(title))
    for line in layout(flat, None, rule=False):
        print(line.text)


def emit_json(data: Any) -> None:
    """Print JSON that any program reads: NaN and infinity become null."""
    document = text.json(json.dumps(_finite(data), indent=2, allow_nan=False, ensure_ascii=False, default=str))
    print(document, file=stdout.document(), flush=True)


def echo(words: object) -> None:
    """Print what holds words that are not ours: names, paths, messages of exceptions."""
    print(wrapped(text.message(words), sys.stdout), flush=True)


def wrapped(message: str, stream: TextIO) -> str:
    """Break the lines of a message at its spaces, so that a terminal cuts no number and no word; elsewhere it stays.

    A command at the end of a line and what stands in backquotes stay whole, to be copied.
    """
    width = columns_of(stream)
    if width is None:
        return message
    return "\n".join(row if len(row) <= width else _wrapped(row, width) for row in message.split("\n"))


def columns_of(stream: TextIO) -> int | None:
    """Return the width of the terminal behind a stream, in cells; None where there is none."""
    try:
        if not stream.isatty():
            return None
        columns = os.environ.get("COLUMNS", "")
        return (int(columns) if columns.isdecimal() else os.get_terminal_size(stream.fileno()).columns) or None
    except (OSError, ValueError, AttributeError):  # closed, or a notebook's
        return None


_WORDS = re.compile(r"(?<=: )ablate .+$|`[^`]*`\S*|\S+")


def _wrapped(row: str, width: int) -> str:
    indent = row[: len(row) - len(row.lstrip())]
    lines = [""]
    for word in _WORDS.findall(row):
        if lines[-1] and len(indent) + len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(indent + line for line in lines)


def duration(seconds: float) -> str:
    """Format seconds: `< 1 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
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
    largest = [parts[first], *((n, unit) for n, unit in parts[first + 1 : first + 2] if n)]
    return " ".join(f"{n} {unit}" for n, unit in largest)


def size(count: float) -> str:
    """Format bytes with a binary prefix: `17.2 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def _numeric(cell: str) -> bool:
    """Return whether a cell is a number, with a unit prefix perhaps, or missing."""
    number = cell.strip()
    return number == "" or (any(c.isdigit() or c == "–" for c in number) and set(number.rstrip("kMGB")) <= NUMERIC)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
