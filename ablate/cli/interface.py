"""Description of a kind's interface: its methods and the types of their arguments, made from the code alone."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from textwrap import wrap
from typing import Any

from ablate import api
from ablate.spec.component import Component
from ablate.spec.descriptions import descriptions

WIDTH = 100
WORD = re.compile(r"[A-Za-z_]\w*")
OURS = (
    "ablate.kinds.",
    "ablate.spec.component",
    "ablate.spec.inputs",
)  # modules of the types that components and ablate exchange
CODE = re.compile(r"`([^`]*)`")


def methods(base: type[Component]) -> Iterator[tuple[str, bool, Any]]:
    """Yield (name, whether it must be written, function) of all that a component may bring; what it must first."""
    functions: dict[str, Any] = {}
    for cls in reversed(base.__mro__):
        if issubclass(cls, Component) and cls is not Component:
            functions |= {name: member for name, member in vars(cls).items() if _is_own_method(member, cls)}
    for name, member in sorted(functions.items(), key=lambda item: item[0] not in base.__abstractmethods__):
        yield name, name in base.__abstractmethods__, member


def signature(function: Any) -> str:
    """Format parameters and result with their types: `(self, setting: InputSpec) -> nn.Module`."""
    return str(inspect.signature(function)).replace("'", "")


def paragraph(documented: Any) -> str:
    """Return the first paragraph of its own docstring, in one line."""
    doc = inspect.getdoc(documented) or ""
    return " ".join(doc.split("\n\n", 1)[0].split())


def types(base: type[Component]) -> list[type]:
    """Return the types in the signatures of a kind's methods, and those that these hold in turn."""
    seen: dict[str, type] = {}
    waiting: list[tuple[Any, str]] = [(base, f"{_code(base)} {_annotations(base)}")]
    for _, _, function in methods(base):
        waiting.append((function, f"{signature(function)} {_code(function)}"))
    while waiting:
        source, text = waiting.pop(0)
        for word in WORD.findall(text):
            cls = _find_type(word, source)
            if cls is not None and word not in seen and cls is not base:
                seen[word] = cls
                members = (member for name, member in vars(cls).items() if not name.startswith("_"))
                functions = [getattr(member, "fget", member) for member in members]
                signatures = " ".join(signature(one) for one in functions if inspect.isfunction(one))
                waiting.append((cls, f"{_annotations(cls)} {signatures}"))
    return list(seen.values())


def fields(cls: type) -> Iterator[tuple[str, str, str]]:
    """Yield (name, type, description) of the fields of a type, in order."""
    texts = descriptions(cls)
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        if not name.startswith("_"):
            yield name, _plain(annotation), texts.get(name, "")


def offers(cls: type) -> Iterator[tuple[str, str, str]]:
    """Yield (name, signature, first paragraph) of the methods and properties that a type's author wrote."""
    for name, member in vars(cls).items():
        function = getattr(member, "fget", member)
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__ == cls.__module__:
            yield name, "" if isinstance(member, property) else signature(function), paragraph(function)


def as_text(base: type[Component]) -> str:
    """Format all of it as text."""
    lines = ["what a component of this kind brings"]
    for name, must, function in methods(base):
        text = (
            " ".join((inspect.getdoc(function) or "").split()) if must else f"(may be replaced) {paragraph(function)}"
        )
        lines += [f"  {name}{signature(function)}", *_wrapped(text)]
    for cls in types(base):
        lines += ["", f"{cls.__name__}", *_wrapped(paragraph(cls), "  ")]
        lines += [f"  {name}: {kind}{f'  # {comment}' if comment else ''}" for name, kind, comment in fields(cls)]
        for name, parameters, text in offers(cls):
            lines += [f"  {name}{parameters}", *_wrapped(text)]
    return "\n".join(lines)


def _wrapped(text: str, margin: str = "      ") -> list[str]:
    return wrap(text, WIDTH, initial_indent=margin, subsequent_indent=margin, break_long_words=False)


def _find_type(word: str, source: Any) -> type | None:
    """Return the type of that name, as a module knows it; no component, and nothing of a library."""
    module = sys.modules.get(source.__module__)  # a module that was imported anew may be gone under its old name
    cls = getattr(module, word, None) or getattr(api, word, None)
    if not inspect.isclass(cls) or issubclass(cls, Component) or issubclass(cls, BaseException):
        return None
    is_ours = cls.__module__ == source.__module__ or cls.__module__.startswith(OURS)
    described = is_dataclass(cls) or vars(cls).get("__annotations__") or inspect.isabstract(cls)
    return cls if is_ours and (described or getattr(cls, "_is_protocol", False)) and _is_passed(cls) else None


def _is_passed(cls: type) -> bool:
    """Return whether a type passes between ablate and a component; others belong to declarations."""
    return cls.__name__ not in ("Added", "Choice", "Range", "When", "Extent", "Resolver")


def _code(documented: Any) -> str:
    """Return what a docstring sets as code; the arguments of `forward(context)` by the names of their types."""
    spans = CODE.findall(inspect.getdoc(documented) or "")
    type_names = (word.capitalize() for span in spans if span.startswith("forward(") for word in WORD.findall(span))
    return " ".join((*spans, *type_names))


def _annotations(cls: type) -> str:
    return " ".join(_plain(one) for one in vars(cls).get("__annotations__", {}).values())


def _plain(annotation: Any) -> str:
    """Return an annotation as it was written; a NamedTuple keeps it in a reference."""
    return str(getattr(annotation, "__forward_arg__", annotation))


def _is_own_method(member: Any, cls: type) -> bool:
    """Return whether a member is a method that the class's author wrote: pydantic adds some of its own."""
    return inspect.isfunction(member) and member.__module__ == cls.__module__ and not member.__name__.startswith("_")
