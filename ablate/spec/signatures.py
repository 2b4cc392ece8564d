"""Check of a component's methods: they must take the same arguments as those of its kind."""

from __future__ import annotations

import inspect
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from ablate.spec.component import Component, is_kind


def mismatch(cls: type[Component]) -> str | None:
    """Describe the first method of a class that cannot take the arguments of its kind's; None if all can."""
    for name, kind_method in kind_methods(cls.__mro__[1:]):
        method = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
        if method is kind_method:
            continue
        function, kind_function = _function(method), _function(kind_method)
        if kind_function is None:
            continue
        if function is None:
            return f"its {name!r} is no method: {cls.kind} asks for `{name}{format_parameters(kind_function)}`"
        if type(method) is not type(kind_method):
            sorts = {classmethod: "a class method", staticmethod: "a static method"}
            should = sorts.get(type(kind_method), "a method of the instance")
            if not (isinstance(method, staticmethod) and _counts(function) == _counts(kind_function, bound=True)):
                return f"its method {name!r}{_line(function)} is not {should}, as {cls.kind} asks for"
            continue
        if _counts(function) == _counts(kind_function):
            continue
        if (reason := _why_not_callable(function, kind_function)) is not None:
            call = f"`{name}{format_parameters(function)}`{_line(function)} {reason}"
            return f"its method {call}: {cls.kind} asks for `{name}{format_parameters(kind_function)}`"
    return None


@lru_cache(maxsize=256)
def kind_methods(above: tuple[type, ...]) -> tuple[tuple[str, Any], ...]:
    """Return (name, method) of all that ablate may call: those of the kind, and what else is abstract above it."""
    kind = next(base for base in above if is_kind(base))
    methods: dict[str, Any] = {}
    for base in reversed(above):
        if issubclass(base, Component):
            for name, member in vars(base).items():
                is_called = issubclass(kind, base) or getattr(member, "__isabstractmethod__", False)
                if is_called and not name.startswith("_") and _is_written_in(member, base):
                    methods.setdefault(name, member)
    return tuple(sorted(methods.items()))


def format_parameters(function: FunctionType) -> str:
    """Format the parameters of a function without their types: `(self, level, sigma_data)`."""
    parts = []
    for one in inspect.signature(function, follow_wrapped=False).parameters.values():
        default = "" if one.default is one.empty else f"={one.default!r:.20}"
        parts.append(str(one.replace(annotation=one.empty, default=one.empty)) + default)
    return f"({', '.join(parts)})"


def _why_not_callable(function: FunctionType, kind_function: FunctionType) -> str | None:
    """Return why `function` does not take a call as it is made of `kind_function`; None where it does."""
    signature = inspect.signature(function, follow_wrapped=False)
    parameters = list(inspect.signature(kind_function, follow_wrapped=False).parameters.values())
    keywords = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    try:
        signature.bind(*positional, **keywords)
        signature.bind(*required, **{p.name: None for p in parameters if p.name in keywords and p.default is p.empty})
    except TypeError as error:
        most = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in signature.parameters.values())
        if "too many positional" in str(error):
            return f"takes {most - 1} and not {len(positional) - 1} arguments"
        return f"cannot be called as its kind's: {error}"
    return None


def _function(member: Any) -> FunctionType | None:
    member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    return member if isinstance(member, FunctionType) else None


def _is_written_in(member: Any, base: type) -> bool:
    """Return whether a class's author wrote a member: pydantic puts some of its own into a class."""
    function = _function(member)
    return function is not None and function.__module__ == base.__module__


def _counts(function: FunctionType, bound: bool = False) -> tuple[Any, ...]:
    """Return what decides how a function may be called, but for names: cheap to compare."""
    code: CodeType = function.__code__
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    stars = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    count = code.co_argcount - bound
    return count, len(function.__defaults__ or ()), tuple(sorted(keywords)), len(function.__kwdefaults__ or ()), stars


def _line(function: FunctionType) -> str:
    return f" in line {function.__code__.co_firstlineno}"
