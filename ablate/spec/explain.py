"""Error messages: pydantic's in the words of a study's author, a plugin's with file and line."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator

from ablate.errors import did_you_mean
from ablate.spec.quantities import format_like, format_size, size

_HERE = f"{Path(__file__).parents[1]}{os.sep}"
_INSTALLED = f"{sysconfig.get_path('purelib')}{os.sep}"
_PYTHON = f"{sysconfig.get_path('stdlib')}{os.sep}"

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a word",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
}


def explain(error: Any, cls: type[BaseModel], owner: str, fields: list[str]) -> str:
    """Format one of `ValidationError.errors()`: what is wrong. of: what `cls` is called. fields: its keys."""
    match error["type"]:
        case "extra_forbidden":
            word = str(error["loc"][-1])
            return f"{owner} has no field {word!r}{did_you_mean(word, fields)}"
        case "missing":
            return f"{owner} needs {error['loc'][-1]!r}"
        case "value_error":
            return str(error["ctx"]["error"])
        case "literal_error":
            expected = get_args(cls.model_fields[error["loc"][0]].annotation) if error["loc"] else ()
            word = error["input"]
            hint = did_you_mean(word, map(str, expected)) if isinstance(word, str) and expected else ""
            return f"expected {error['ctx']['expected']}, not {short(word)}{hint if 'did you' in hint else ''}"
        case "int_parsing_size":  # such as 1e23, which YAML reads as no whole number
            return f"{short(error['input'])} is too large: a whole number has at most 64 bits here"
        case "greater_than_equal" | "less_than_equal" if (told := _beyond(error, cls)) is not None:
            return told
        case sort if sort in _EXPECTED:
            return f"expected {_EXPECTED[sort]}, not {short(error['input'])}"
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return f"{message}, not {short(error['input'])}"


def _beyond(error: Any, cls: type[BaseModel]) -> str | None:
    """Tell what lies beyond a limit in the unit that was given, and a bare number of bytes as such; None for others."""
    given = error["input"]
    ((side, limit),) = error["ctx"].items()
    expected = f"expected {'at least' if side == 'ge' else 'at most'}"
    if isinstance(given, str):  # such as 1MiB
        return f"{expected} {format_like(given, limit)}, not {short(given)}"
    if size in _validators(cls, error["loc"]):  # such as 20, meant in GiB
        return f"{expected} {format_size(limit)}, not {short(given)} bytes; write the unit, as in 20GiB"
    return None


def _validators(cls: type[BaseModel], path: tuple[str | int, ...]) -> list[Any]:
    """Return the functions that convert what is written for a field before it is validated."""
    if not path or str(path[0]) not in cls.model_fields:
        return []
    info = cls.model_fields[str(path[0])]
    parts = [info.annotation, *get_args(info.annotation), *info.metadata]
    own = [one for part in parts for one in (part, *get_args(part)) if isinstance(one, BeforeValidator)]
    models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    return [one.func for one in own] + [found for model in models for found in _validators(model, path[1:])]


def exception_summary(error: BaseException) -> str:
    """Format an exception in a line: its type, its message, and the line of a plugin's code that led to it."""
    message = " ".join(exception_message(error).split())
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    plugin_frames = [f for f in frames if not is_foreign(f.filename)]
    return f"{line[:500]} ({plugin_frames[-1].filename}:{plugin_frames[-1].lineno})" if plugin_frames else line[:500]


def exception_message(error: BaseException) -> str:
    """Return the message of an exception; a substitute where its own `__str__` raises."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - a plugin's own code
        return f"(its message cannot be had: {type(second).__name__})"


def full_traceback(error: BaseException) -> str:
    """Format the traceback as Python prints it, whatever the exception is."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - `__str__` or `__cause__` of a plugin's own
        return "".join(
            [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}: {exception_message(error)}\n"]
        )


def plugin_traceback(error: BaseException) -> str:
    """Format a traceback without the frames of libraries: only a plugin's own code."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not is_foreign(f.filename)]
    head = ["Traceback (most recent call last):\n", *traceback.format_list(frames)] if frames else []
    try:
        return "".join([*head, *traceback.format_exception_only(error)])
    except Exception:  # noqa: BLE001 - a plugin's own `__str__`
        return "".join([*head, f"{type(error).__name__}: {exception_message(error)}\n"])


def is_foreign(file: str) -> bool:
    """Return whether a file is the framework's, Python's library's or torch's, and not a plugin's own."""
    if file.startswith(_INSTALLED):  # may lie inside of Python's own
        return file.startswith((f"{_INSTALLED}torch{os.sep}", _HERE))
    return file.startswith(("<", _HERE, _PYTHON))


def short(value: Any) -> str:
    """Format a value as it was given, or its beginning."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"a number of {value.bit_length():,} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."
