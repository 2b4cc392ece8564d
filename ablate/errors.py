"""What can be wrong with a user's input, told in one message: where, what, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Path = tuple[str | int, ...]


class InputError(Exception):
    """The user's input is wrong: the command line prints this one message and exits with 2.

    `where` is a file, or `file:line`, or the option that carried the value.
    """

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


_OPTION = re.compile(r"--(plugin|set|profile|metric|samples|nfe|ema|reference|out|device|executor|workers)\b")
_ARGUMENTS = {"plugin": "plugins", "metric": "metrics", "set": "overrides"}


@contextmanager
def in_python() -> Iterator[None]:
    """Errors in the words of who calls a function: `plugins=`, where the command line says `--plugin`."""

    def said(text: str) -> str:
        return _OPTION.sub(lambda found: f"{_ARGUMENTS.get(found[1], found[1])}=", text)

    try:
        yield
    except InputError as error:
        error.message = said(error.message)
        error.where = None if error.where is None else said(error.where)
        error.args = (error.message,)
        raise


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a spec, at a path inside it such as `("backbone", "patch")`."""

    path: Path
    message: str

    def __str__(self) -> str:
        at = ".".join(map(str, self.path))
        return f"{at}: {self.message}" if at else self.message


class SpecError(InputError):
    """A component's spec is wrong; every problem keeps its path, so that a file can add lines."""

    def __init__(self, problems: Iterable[Problem], where: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)), where)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'adaln'?`, or the list of what there is when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there is: {', '.join(names)}" if names else ""
