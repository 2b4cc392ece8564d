"""The refusal of a study: one message with all of its problems, each with its file and line."""

from __future__ import annotations

from collections.abc import Iterable

from ablate.errors import InputError, Problem
from ablate.errors import Path as Keys
from ablate.study.yaml import Document


def refusal(document: Document, problems: Iterable[Problem]) -> InputError:
    """Return one error for all problems, each once, in the order of the file."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: document.line(problem.path) or 0)
    parts = [(document.where(problem.path), f"{_prefix(problem.path)}{problem.message}") for problem in ordered]
    if len(parts) == 1:
        return InputError(parts[0][1], parts[0][0])
    return InputError("", parts=parts)


def _prefix(path: Keys) -> str:
    """Return a path as a message begins with it: `vary.batch[1]: `."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return f"{text}: " if text else ""
