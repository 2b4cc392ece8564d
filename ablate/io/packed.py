"""Packed JSON: one gzip file of two lines, of which the first is read often and alone, the second seldom.

Each line is a gzip member of its own, so the first is read without unpacking the second; `zcat` prints both. Rows of
equal keys are stored by columns, and columns of floats as their bytes, from which they come back to the bit: text of a
random double takes twice the room.
"""

from __future__ import annotations

import array
import base64
import gzip
import itertools
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.io.files import write_atomic

_GZIP = 31  # for zlib: a gzip header, and the largest window
_BYTES = 8  # of a float
FLOATS, DERIVED = "float64", "derived"
Columns = Mapping[str, list[Any]]
Derived = Mapping[str, Callable[[Columns], list[Any]]]  # {column: its values, by the others}
_NONE: Derived = {}


def line(content: Mapping[str, Any]) -> bytes:
    """Return a line of the file, compressed; equal contents give equal bytes. NaN and infinity are refused."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return gzip.compress(f"{text}\n".encode(), mtime=0)


def write(path: Path, first: Mapping[str, Any], second: bytes, beside: Iterable[Path] = ()) -> None:
    """Write a file atomically. second: a `line`. beside: files that are synced with it, see `write_atomic`."""
    write_atomic(path, line(first) + second, beside=beside)


def read(path: Path) -> tuple[Any, bytes]:
    """Read the first line, and the second as it is stored. Raises OSError, and ValueError for what is damaged."""
    member = zlib.decompressobj(_GZIP)
    try:
        text = member.decompress(path.read_bytes())
        if not member.eof:
            raise ValueError("is cut short")
        return json.loads(text), member.unused_data
    except zlib.error as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def content(second: bytes) -> Any:
    """Return what a line holds. Raises ValueError where it is damaged."""
    try:
        return json.loads(gzip.decompress(second))
    except (OSError, EOFError, zlib.error) as error:  # gzip's own errors are OSErrors
        raise ValueError(str(error)) from None


def by_columns(rows: Sequence[Mapping[str, Any]], derived: Derived = _NONE) -> list[dict[str, Any]]:
    """Return rows by columns, for a `line`: a block for each run of rows that have the same keys.

    derived: columns that may follow from the others: one that does, in all rows, is not stored.
    """
    follow = {name for name, of in derived.items() if _follows(rows, name, of)}
    blocks = []
    for names, run in itertools.groupby(rows, key=tuple):
        block = list(run)
        columns = {name: DERIVED if name in follow else _stored([row[name] for row in block]) for name in names}
        blocks.append({"rows": len(block), "columns": columns})
    return blocks


def by_rows(blocks: Sequence[Mapping[str, Any]], derived: Derived = _NONE) -> list[dict[str, Any]]:
    """Return the rows that `by_columns` was given. Raises ValueError, KeyError or TypeError for what is none of it."""
    columns, rows, first = whole_columns(blocks, derived), list[dict[str, Any]](), 0
    for block in blocks:
        names, last = list(block["columns"]), first + block["rows"]
        if names:
            parts = [columns[name][first:last] for name in names]
            rows += [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)]
        else:
            rows += [{} for _ in range(first, last)]
        first = last
    return rows


def whole_columns(blocks: Sequence[Mapping[str, Any]], derived: Derived = _NONE) -> Columns:
    """Return the columns of all blocks together, with None where a row has no such key. Raises as `by_rows`."""
    columns: dict[str, list[Any]] = {}
    count, follow = 0, set[str]()
    for block in blocks:
        more = block["rows"]
        for name, stored in block["columns"].items():
            values = [None] * more if stored == DERIVED else _column(stored)
            if len(values) != more:
                raise ValueError(f"column {name!r} has {len(values)} of {more} rows")
            if stored == DERIVED:
                follow.add(name)
            columns.setdefault(name, [None] * count).extend(values)
        count += more
        for values in columns.values():
            values.extend([None] * (count - len(values)))
    return {**columns, **{name: derived[name](columns) for name in follow}}


def _follows(rows: Sequence[Mapping[str, Any]], name: str, of: Callable[[Columns], list[Any]]) -> bool:
    """Return whether a column of these rows is what follows from the others."""
    if not rows or any(name not in row for row in rows):
        return False
    columns = {key: [row.get(key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row)}
    try:
        return of(columns) == columns[name]
    except (KeyError, TypeError):  # what it follows from is not there
        return False


def _stored(values: list[Any]) -> Any:
    """Return a column of floats as text of its bytes, first all the lowest ones; others as they are."""
    if not all(type(value) is float for value in values):
        return values
    numbers = array.array("d", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    data = numbers.tobytes()
    planes = b"".join(data[place::_BYTES] for place in range(_BYTES))
    return {FLOATS: base64.b64encode(planes).decode()}


def _column(stored: Any) -> list[Any]:
    if isinstance(stored, list):
        return stored
    planes = base64.b64decode(stored[FLOATS], validate=True)
    count, rest = divmod(len(planes), _BYTES)
    if rest:
        raise ValueError("a column of floats is cut short")
    data = bytearray(len(planes))
    for place in range(_BYTES):
        data[place::_BYTES] = planes[place * count : (place + 1) * count]
    numbers = array.array("d", bytes(data))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
