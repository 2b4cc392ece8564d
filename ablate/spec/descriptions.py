"""Descriptions of fields, read from where the author of a class wrote them.

A field is described by `Field(description=...)`, by a docstring under it, or by a comment beside it:

    width: Annotated[int, Field(ge=1, description="channels inside")] = 8

    width: int = 8
    '''channels inside'''

    width: int = 8  # channels inside

Docstrings and comments are read from the source when somebody asks for them. pydantic can read docstrings too
(`use_attribute_docstrings`), but it does so when a class is made, for all of them: the catalog then takes half as long
again, in every process.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ablate.spec.component import Config


def descriptions(cls: type) -> dict[str, str]:
    """Return {field: description in one line} of a config, or of another class with annotated fields.

    Fields without a description are left out. A config inherits the descriptions of its fields.
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is cls or issubclass(base, Config):
            texts |= _declared(base)
    if issubclass(cls, Config):
        texts |= {name: info.description for name, info in cls.model_fields.items() if info.description}
    return {name: " ".join(text.split()) for name, text in texts.items()}


def _declared(cls: type) -> Mapping[str, str]:
    """Return {field: docstring or comment} of the fields that a class's own body declares."""
    try:
        source = Path(inspect.getsourcefile(cls) or "").read_text(encoding="utf-8")
        return _declared_in(source).get(cls.__qualname__, {})
    except (OSError, TypeError, ValueError, SyntaxError):  # no file, or none that Python reads
        return {}


@lru_cache(maxsize=256)
def _declared_in(source: str) -> dict[str, dict[str, str]]:
    """Return {qualified name of a class: {field: docstring or comment}} of a module's source."""
    lines = source.encode().splitlines()  # the syntax tree counts bytes
    texts: dict[str, dict[str, str]] = {}
    for name, definition in _classes(ast.parse(source)):
        texts[name] = {}
        for statement, following in itertools.pairwise([*definition.body, None]):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                text = _docstring(following) or _comment(lines, statement)
                if text:
                    texts[name][statement.target.id] = text
    return texts


def _docstring(statement: ast.stmt | None) -> str:
    """Return the text of a statement that is a string and nothing else."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return statement.value.value if isinstance(statement.value.value, str) else ""
    return ""


def _comment(lines: Sequence[bytes], statement: ast.stmt) -> str:
    """Return the comment behind a statement, in the line in which it ends."""
    behind = lines[(statement.end_lineno or 0) - 1][statement.end_col_offset :].decode().strip()
    return behind.lstrip("# ") if behind.startswith("#") else ""


def _classes(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield (qualified name, definition) of all classes below a node, those within functions too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield f"{prefix}{child.name}", child
            yield from _classes(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _classes(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.stmt):
            yield from _classes(child, prefix)
