"""Descriptions of fields, read from where the author of a class wrote them.

A field is described by `Field(description=...)`, by a docstring under it, or by a comment beside it:

    width: Annotated[int, Field(ge=1, description="channels inside")] = 8

    width: int = 8
    \"\"\"channels inside\"\"\"

    width: int = 8  # channels inside

The first two are pydantic's own (`use_attribute_docstrings`): `model_fields[name].description` holds them. A comment is
read from the source, when somebody asks for it.
"""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from textwrap import dedent

from ablate.spec.component import Config


def descriptions(cls: type) -> dict[str, str]:
    """Return {field: description in one line} of a config, or of another class with annotated fields.

    Fields without a description are left out. A config inherits the descriptions of its fields.
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is cls or issubclass(base, Config):
            texts |= _comments(base)
    if issubclass(cls, Config):
        texts |= {name: info.description for name, info in cls.model_fields.items() if info.description}
    return {name: " ".join(text.split()) for name, text in texts.items()}


def _comments(cls: type) -> dict[str, str]:
    """Return {field: comment beside its declaration} of the fields that a class's own body declares."""
    try:
        source = dedent(inspect.getsource(cls))
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):  # no source, or one that is written in pieces
        return {}
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return {
        statement.target.id: comments[line]
        for definition in tree.body
        if isinstance(definition, ast.ClassDef)
        for statement in definition.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        for line in (statement.end_lineno, statement.lineno)
        if line in comments
    }
