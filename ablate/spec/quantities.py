"""Times and sizes with units, as a study writes them: `2h`, `90 min`, `1h30m`, `20GiB`, `500 MB`; bare numbers too."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1}
_BYTES |= {f"{letter}b": 1000**i for i, letter in enumerate("kmgt", 1)}
_BYTES |= {f"{letter}ib": 1024**i for i, letter in enumerate("kmgt", 1)}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


def seconds(value: Any) -> Any:
    """Return the seconds that a text such as `1h30m` stands for; numbers are seconds. Raises ValueError."""
    if not isinstance(value, str):
        return value
    parts = _parts(value)
    units = [unit.lower() or "s" for _, unit in parts]
    if not parts or any(unit not in _SECONDS for unit in units):
        raise ValueError(f"expected seconds, or a time such as 60s, 90min, 2h or 1h30m, not {value!r}")
    return sum(number * _SECONDS[unit] for (number, _), unit in zip(parts, units, strict=True))


def size(value: Any) -> Any:
    """Return the bytes that a text such as `20GiB` stands for; numbers are bytes. Raises ValueError."""
    if not isinstance(value, str):
        return value
    parts = _parts(value)
    if len(parts) != 1 or (unit := parts[0][1].lower()) not in _BYTES:
        raise ValueError(f"expected bytes, or a size such as 500MB or 20GiB, not {value!r}")
    return int(parts[0][0] * _BYTES[unit])


def format_seconds(value: float) -> str:
    """Format a time as short as it is exact: 7200 -> `2h`, 90 -> `90s`."""
    for unit in ("d", "h", "min"):
        if value >= _SECONDS[unit] and value % _SECONDS[unit] == 0:
            return f"{int(value / _SECONDS[unit])}{unit}"
    return f"{int(value)}s" if value == int(value) else f"{value:g}s"


def format_size(value: int) -> str:
    """Format a size: 21474836480 -> `20 GiB`."""
    for letter in "TGMK":
        if value >= (unit := _BYTES[f"{letter.lower()}ib"]):
            return f"{value / unit:.4g} {letter}iB"
    return f"{value} B"


def format_like(text: str, value: float) -> str:
    """Format a number in the kind of unit that a text has: beside `1MiB` as a size, beside `90min` as a time."""
    units = {unit.lower() for _, unit in _parts(text)} - {""}
    if units and units <= set(_BYTES):
        return format_size(int(value))
    return format_seconds(value) if units and units <= set(_SECONDS) else f"{value:g}"


def _parts(text: str) -> list[tuple[float, str]]:
    """Return numbers with their units; none where the text has anything else in it."""
    parts, end = [], 0
    for match in _PART.finditer(text):
        if match.start() != end:
            return []
        parts.append((float(match[1]), match[2]))
        end = match.end()
    return parts if not text[end:].strip() else []


Seconds = Annotated[
    float, BeforeValidator(seconds), WithJsonSchema({"type": ["number", "string"], "examples": ["60s", "2h"]})
]
Bytes = Annotated[
    int, BeforeValidator(size), WithJsonSchema({"type": ["integer", "string"], "examples": ["500MB", "20GiB"]})
]
