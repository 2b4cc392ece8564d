"""pydantic's errors in the words of a study's author."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from ablate.errors import did_you_mean

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


def explain(error: Any, cls: type[BaseModel], of: str, known: list[str]) -> str:
    """What is wrong; `error` is one of `ValidationError.errors()`, `of` what `cls` is called, `known` its keys."""
    match error["type"]:
        case "extra_forbidden":
            word = str(error["loc"][-1])
            return f"{of} has no field {word!r}{did_you_mean(word, known)}"
        case "missing":
            return f"{of} needs {error['loc'][-1]!r}"
        case "value_error":
            return str(error["ctx"]["error"])
        case "literal_error":
            expected = get_args(cls.model_fields[error["loc"][0]].annotation) if error["loc"] else ()
            word = error["input"]
            hint = did_you_mean(word, map(str, expected)) if isinstance(word, str) and expected else ""
            return f"expected {error['ctx']['expected']}, not {short(word)}{hint if 'did you' in hint else ''}"
        case sort if sort in _EXPECTED:
            return f"expected {_EXPECTED[sort]}, not {short(error['input'])}"
        case "is_instance_of":
            return f"expected a {error['loc'][-1]}, not {short(error['input'])}"
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return f"{message}, not {short(error['input'])}"


def short(value: Any) -> str:
    """A value as it was given, or its beginning."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
