"""Errors of a user's input, told in one message: where, what, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Path = tuple[str | int, ...]


_FLAGS = {"plugins": "plugin", "metrics": "metric", "overrides": "set", "settings": "set"}
_FLAGS |= {"average": "ema", "averages": "ema", "confirm_seeds": "confirm-seeds"}


class Argument(str):
    """The place of a wrong value that is in no file: an argument of a function, such as `plugins='nope.py'`.

    As text it is the keyword argument, for whoever calls a function; `flag` is what the command line calls it,
    such as `--plugin nope.py`.
    """

    flag: str

    def __new__(cls, keyword: str, value: str | None = None) -> Argument:
        """keyword: the name of the argument. value: the one that is wrong, as text."""
        argument = super().__new__(cls, keyword if value is None else f"{keyword}={value!r}")
        argument.flag = f"--{_FLAGS.get(keyword, keyword)}{'' if value is None else f' {value}'}"
        return argument


def _flag(where: str | None) -> str | None:
    return where.flag if isinstance(where, Argument) else where


class InputError(Exception):
    """The user's input is wrong: the command line prints this one message and exits with 2.

    where: a file, or `file:line`, or the `Argument` that carried the value. parts: where several things are
    wrong, each with its own place; the message is then made of them.
    """

    def __init__(self, message: str, where: str | None = None, parts: Iterable[tuple[str | None, str]] = ()) -> None:
        self.parts = tuple(parts)
        self.message = "\n".join(_placed(*part) for part in self.parts) or message
        super().__init__(self.message)
        self.where = where

    def __str__(self) -> str:
        return _placed(self.where, self.message)

    def at_command_line(self) -> str:
        """Return the message with the command line's options where `str` has a function's arguments."""
        parts = self.parts or [(self.where, self.message)]
        return "\n".join(_placed(_flag(where), message) for where, message in parts)


_SECRET = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)|([?&][a-z]*pass[a-z]*=)[^&\s]+", re.IGNORECASE)


def _placed(where: str | None, message: str) -> str:
    """Return the message with its place; a password in a URL is in neither."""
    return _SECRET.sub(lambda match: f"{match[1] or match[2]}…", f"{where}: {message}" if where else message)


_OPTION = re.compile(
    r"--(plugin|set|profile|metric|samples|nfe|ema|reference|out|device|executor|workers)\b( (cpu|local))?"
)
_ARGUMENTS = {"plugin": "plugins", "metric": "metrics", "set": "overrides"}


@contextmanager
def in_python() -> Iterator[None]:
    """Rewrite advice for who calls a function: `device='cpu'`, where the command line says `--device cpu`."""

    def as_argument(option: re.Match[str]) -> str:
        value = "" if option[3] is None else repr(option[3])
        return f"{_ARGUMENTS.get(option[1], option[1])}={value}"

    try:
        yield
    except InputError as error:
        error.message = _OPTION.sub(as_argument, error.message)
        error.parts = tuple((where, _OPTION.sub(as_argument, message)) for where, message in error.parts)
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


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `; did you mean 'adaln'?`, or the list of choices where none is near."""
    names = sorted(choices)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there is: {', '.join(names)}" if names else ""
