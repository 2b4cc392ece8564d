"""Layout of a text table in a given width: names are shortened and columns folded, numbers never cut or left out.

In this order, as far as needed: columns that say the same in every row go into a line below; heads are broken at their
underscores and running text at its words; names lose their middle; what still does not fit stands in a further block
below, which repeats the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ablate.io import text

_PARTS = re.compile(r"[^_ ]*[_ ]+|[^_ ]+")
_WHOLE = "\u00a0"  # a space at which no line is broken
GAP = 2  # spaces between two columns
NAME = 20  # signs of a name that a narrow terminal leaves it at the least, as long as names stay apart
WRAPPED = 24  # signs of a line of wrapped text at the least


@dataclass(frozen=True)
class Column:
    """A column: its head and its cells. The first one holds names, and stands in every block."""

    head: str
    cells: tuple[str, ...]
    right: bool = False
    wrap: bool = False  # running text, which may be broken over lines
    name: bool = False  # may lose its middle

    @property
    def width(self) -> int:
        """Return the width of the column uncut."""
        return max(map(_length, (self.head, *self.cells)))


@dataclass(frozen=True)
class TableLine:
    """A line of the table: a `head`, a `rule`, a `row` with its number, a `note` or a `blank`."""

    kind: str
    text: str
    row: int = -1


def layout(columns: Sequence[Column], width: int | None, rule: bool = True) -> list[TableLine]:
    """Lay out the lines of a table, none wider than `width` unless one name and one number alone already are.

    width: in cells of a terminal; None where lines may have any length.
    """
    columns = [_fit(column) for column in columns]
    notes: list[str] = []
    if width is not None and _total_width(columns) > width:
        columns, notes = _constant(columns)
    blocks = [list(columns)] if width is None else _blocks(columns, width)
    lines: list[TableLine] = []
    for block in blocks:
        lines += [TableLine("blank", "")] if lines else []
        lines += _drawn(block, width, rule)
    parts = [part for note in notes for part in _wrapped(note, width or len(note))]
    return [*lines, *(TableLine("note", part.replace(_WHOLE, " ")) for part in parts)]


def _fit(column: Column) -> Column:
    cells = tuple(text.printable(text.shortened(cell, text.LINE), lines=column.wrap) for cell in column.cells)
    return Column(text.label(column.head), cells, column.right, column.wrap, column.name)


def _total_width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _constant(columns: Sequence[Column]) -> tuple[list[Column], list[str]]:
    """Split off the constant columns: return the others, and a note of the constant ones."""
    rows = len(columns[0].cells)
    same = [c for c in columns[1:] if rows > 1 and len(set(c.cells)) == 1 and not c.wrap]
    notes = [f"{c.head} {c.cells[0].strip()}".replace(" ", _WHOLE) for c in same if c.cells[0].strip()]
    return [c for c in columns if c not in same], ["in every row: " + ", ".join(notes)] if notes else []


def _blocks(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Split the columns into as few blocks as fit the width."""
    first, rest = columns[0], list(columns[1:])
    beside = max((_least_width(column, width, width) for column in rest if not column.wrap), default=0)
    most = max(width - GAP - beside, 8)  # of a name, so that any one number stands beside it
    least = [_least_width(column, width, most) for column in columns]
    if sum(least) + GAP * (len(columns) - 1) <= width:
        return [_fit_width(columns, least, width)]
    blocks: list[list[Column]] = []
    block, used = [first], least[0]
    for column, needed in zip(rest, least[1:], strict=True):
        if len(block) > 1 and used + GAP + needed > width:
            blocks.append(block)
            block, used = [first], least[0]
        block.append(column)
        used += GAP + needed
    blocks.append(block)
    return [_fit_width(part, [_least_width(column, width, most) for column in part], width) for part in blocks]


def _least_width(column: Column, width: int, most: int) -> int:
    """Return the minimum width of a column; of names at most `most`."""
    if column.name:
        least = min(column.width, max(NAME, _length(column.head)), most)
        while least < column.width and least < min(width // 2, most) and _names_collide(column, least):
            least += 1
        return least
    if column.wrap:
        return min(column.width, WRAPPED, max(width - GAP - NAME, 8))
    return max(_length(part) for part in (*column.cells, *_PARTS.findall(column.head), ""))


def _names_collide(column: Column, width: int) -> bool:
    """Return whether two different names would read the same."""
    return len({_short(cell, width) for cell in column.cells}) < len(set(column.cells))


def _fit_width(columns: Sequence[Column], least: Sequence[int], width: int) -> list[Column]:
    """Return the columns with the free width distributed: names first, then text."""
    room = width - sum(least) - GAP * (len(columns) - 1)
    widths = list(least)
    for chosen in (lambda c: c.name, lambda c: c.wrap, lambda c: not (c.name or c.wrap)):
        for i, column in enumerate(columns):
            if chosen(column):
                more = min(max(room, 0), column.width - widths[i])
                widths[i], room = widths[i] + more, room - more
    return [_cut(column, most) for column, most in zip(columns, widths, strict=True)]


def _cut(column: Column, width: int) -> Column:
    if column.width <= width:
        return column
    cells = column.cells
    if column.wrap:
        cells = tuple("\n".join(_wrapped(cell, width)) for cell in cells)
    elif column.name:
        cells = tuple(_shortened(cells, width))
    return Column(_folded(column.head, width), cells, column.right, column.wrap, column.name)


def _folded(head: str, width: int) -> str:
    """Break a head into lines behind underscores and spaces."""
    lines = [""]
    for part in _PARTS.findall(head):
        if lines[-1] and _length(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(_short(line.rstrip(), width) for line in lines)


def _shortened(cells: Sequence[str], width: int) -> list[str]:
    """Shorten names in their middles; those that would read the same are numbered."""
    short = [_short(cell, width) for cell in cells]
    owner: dict[str, str] = {}
    for i, (name, cell) in enumerate(zip(short, cells, strict=True)):
        if owner.setdefault(name, cell) != cell:
            mark = f"{text.ELLIPSIS}{i + 1}"
            short[i] = _short(cell, width - len(mark)).rpartition(text.ELLIPSIS)[0] + mark
            owner[short[i]] = cell
    return short


def _drawn(columns: Sequence[Column], width: int | None, rule: bool) -> list[TableLine]:
    widths = [max(_length(part) for cell in (c.head, *c.cells) for part in cell.split("\n")) for c in columns]
    row_text = partial(_row, columns, widths)
    heads = [c.head.split("\n") for c in columns]
    rows = max(map(len, heads))
    heads = [[""] * (rows - len(head)) + head for head in heads]
    lines = [TableLine("head", row_text([head[k] for head in heads])) for k in range(rows)]
    if rule:
        lines.append(TableLine("rule", "─" * (sum(widths) + GAP * (len(widths) - 1))))
    for i in range(len(columns[0].cells)):
        cells = [c.cells[i].split("\n") for c in columns]
        height = max(map(len, cells))
        parts = [[cell[k] if k < len(cell) else "" for cell in cells] for k in range(height)]
        lines += [TableLine("row", row_text(part), i) for part in parts]
    return lines


def _row(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    padded = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        space = " " * (width - _length(cell))
        padded.append(space + cell if column.right else cell + space)
    return (" " * GAP).join(padded).rstrip()


def _wrapped(paragraph: str, width: int) -> list[str]:
    import textwrap

    from rich.cells import chop_cells

    parts = [textwrap.wrap(row, max(width, 8), break_on_hyphens=False) or [""] for row in paragraph.split("\n")]
    lines = [line for part in parts for line in part]
    return [piece for line in lines for piece in (chop_cells(line, width) if _length(line) > width else [line])]


def _short(name: str, width: int) -> str:
    """Shorten a name in its middle, where it takes more than `width` cells."""
    signs = width
    while _length(short := text.shortened(name, signs)) > width and signs > 1:
        signs -= 1
    return short


def _length(line: str) -> int:
    """Return the cells of a terminal that a line takes: two for each wide character."""
    if line.isascii():
        return len(line)
    from rich.cells import cell_len

    return cell_len(line)


Style = Callable[[int], str | None]


def drawn(columns: Sequence[Column], title: str = "", style: Style = lambda row: None) -> object:
    """Return a `rich` renderable of the table in any width. style: of a row by its number, such as `green`."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

    styles = {"head": "bold", "rule": "dim", "note": "dim"}

    class Table:
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            if title:
                yield Text(text.label(title), style="bold", no_wrap=True, overflow="ellipsis")
            for line in layout(columns, options.max_width):
                look = style(line.row) if line.kind == "row" else styles.get(line.kind)
                yield Text(line.text, style=look or "", overflow="fold")

    return Table()
