"""Whether a component's methods can be called as its kind's are: with the same arguments."""

from __future__ import annotations

import inspect
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from ablate.spec.component import Component, is_kind


def mismatch(cls: type[Component]) -> str | None:
    """The first method of a class that cannot take the arguments of its kind's, and what to do; None if all can."""
    for name, asked in promised(cls.__mro__[1:]):
        found = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
        if found is asked:
            continue
        given, wanted = _function(found), _function(asked)
        if wanted is None:
            continue
        if given is None:
            return f"its {name!r} is no method: {cls.kind} asks for `{name}{told(wanted)}`"
        if type(found) is not type(asked):
            made = {classmethod: "a class method", staticmethod: "a static method"}
            should = made.get(type(asked), "a method of the instance")
            if not (isinstance(found, staticmethod) and _counts(given) == _counts(wanted, bound=True)):
                return f"its method {name!r}{_place(given)} is not {should}, as {cls.kind} asks for"
            continue
        if _counts(given) != _counts(wanted) and (reason := _refused(given, wanted)) is not None:
            said = f"`{name}{told(given)}`{_place(given)} {reason}"
            return f"its method {said}: {cls.kind} asks for `{name}{told(wanted)}`"
    return None


@lru_cache(maxsize=256)
def promised(above: tuple[type, ...]) -> tuple[tuple[str, Any], ...]:
    """(name, method) of all that ablate may call of a component: of its kind, and what else is abstract above it."""
    kind = next(base for base in above if is_kind(base))
    found: dict[str, Any] = {}
    for base in reversed(above):
        if issubclass(base, Component):
            for name, held in vars(base).items():
                asked = issubclass(kind, base) or getattr(held, "__isabstractmethod__", False)
                if asked and not name.startswith("_") and _own(held, base):
                    found.setdefault(name, held)
    return tuple(sorted(found.items()))


def told(function: FunctionType) -> str:
    """Its parameters without their types: `(self, level, sigma_data)`."""
    parts = []
    for one in inspect.signature(function, follow_wrapped=False).parameters.values():
        default = "" if one.default is one.empty else f"={one.default!r:.20}"
        parts.append(str(one.replace(annotation=one.empty, default=one.empty)) + default)
    return f"({', '.join(parts)})"


def _refused(given: FunctionType, wanted: FunctionType) -> str | None:
    """Why a call as it is made of `wanted` is not taken by `given`; None where it is."""
    signature = inspect.signature(given, follow_wrapped=False)
    parameters = list(inspect.signature(wanted, follow_wrapped=False).parameters.values())
    named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = [p for p in placed if p.default is p.empty]
    try:
        signature.bind(*placed, **named)
        signature.bind(*least, **{p.name: None for p in parameters if p.name in named and p.default is p.empty})
    except TypeError as error:
        most = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in signature.parameters.values())
        if "too many positional" in str(error):
            return f"takes {most - 1} and not {len(placed) - 1} arguments"
        return f"cannot be called as its kind's: {error}"
    return None


def _function(held: Any) -> FunctionType | None:
    held = held.__func__ if isinstance(held, classmethod | staticmethod) else held
    return held if isinstance(held, FunctionType) else None


def _own(held: Any, base: type) -> bool:
    """Whether a class's author wrote it: pydantic puts some of its own into a class."""
    function = _function(held)
    return function is not None and function.__module__ == base.__module__


def _counts(function: FunctionType, bound: bool = False) -> tuple[Any, ...]:
    """What decides how it may be called, but for names: cheap to compare."""
    code: CodeType = function.__code__
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    stars = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    count = code.co_argcount - bound
    return count, len(function.__defaults__ or ()), tuple(sorted(named)), len(function.__kwdefaults__ or ()), stars


def _place(function: FunctionType) -> str:
    return f" in line {function.__code__.co_firstlineno}"
