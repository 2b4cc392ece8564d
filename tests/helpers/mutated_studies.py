"""Study files with something wrong in them, drawn by hypothesis from studies that are in order."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st

Keys = tuple[str | int, ...]

ODD_TEXT = (
    "", " ", "\n", "None", "all", "..", "/", "~", "a\tb", "ü", "日本語", "\u202eabc", "\x07bell", "\x1b[31mred",
    "🙂" * 40, "x" * 5000, "%s {0} %(a)s", "$HOME", "-1", "1e400", "0x10", "1_000", "yes", "2020-99-99", "null", "[",
    "nan", "../../etc/passwd", "C:\\", "a.b.c", "<b>&amp;", "'", '"', "*", "&a", "!!python/name:os.system",
    "{type: unet}", "\u2028",
)  # fmt: skip
ODD_NUMBERS = (
    0, 1, -1, 2, 3, 7, 0.5, -0.0, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf, 2**31, 2**63, 2**64, 10**30,
    10**400, 1e9, 10**9, 65_537, True, False,
)  # fmt: skip


CHANGES_OF_TEXT = (
    "tab", "dedent", "indent", "twice", "cut", "character", "tag", "anchor", "alias", "merge", "laughs", "document",
    "crlf", "bom", "latin", "utf16", "nul", "quote", "comment",
)  # fmt: skip


def _deep(depth: int, as_list: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if as_list else {"type": value}
    return value


def _odd_values(names: Sequence[str]) -> st.SearchStrategy[Any]:
    """Values of all types; names: of components and of fields, which fit somewhere, though seldom here."""
    scalars = st.one_of(
        st.sampled_from(ODD_TEXT), st.sampled_from(ODD_NUMBERS), st.none(), st.sampled_from(names),
        st.text(max_size=20), st.floats(), st.integers(-(10**6), 10**6), st.dates(),
    )  # fmt: skip
    lists = st.lists(scalars, max_size=4)
    mappings = st.dictionaries(st.one_of(st.sampled_from(names), st.sampled_from(("type", "low", "high"))), scalars)
    deep = st.builds(_deep, st.sampled_from((3, 20, 49, 51, 200)), st.booleans())
    return st.one_of(scalars, scalars, scalars, lists, mappings, st.builds(lambda n: {"type": n}, scalars), deep)


def places(tree: Any) -> Iterator[Keys]:
    """Yield the path of every value in a document, from the outside in; one may lie thousands of levels deep."""
    open_: list[tuple[Keys, Any]] = [((), tree)]
    while open_:
        path, value = open_.pop()
        if path:
            yield path
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        open_ += [((*path, key), child) for key, child in reversed(list(children))]


def _at(tree: Any, path: Keys) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _renamed(draw: st.DrawFn, key: str) -> str:
    at = draw(st.integers(0, len(key)))
    return draw(
        st.sampled_from((key[:at] + key[at + 1 :], f"{key[:at]}_{key[at:]}", key.upper(), f"{key} ", f"{key}.x", ""))
    )


def _changed(draw: st.DrawFn, tree: dict[str, Any], names: Sequence[str], odd: st.SearchStrategy[Any]) -> None:
    """Change one thing in a document: a key, a value, or the place of a value."""
    all_places = list(places(tree))
    if not all_places:
        return
    path = draw(st.sampled_from(all_places))
    inner, key = _at(tree, path[:-1]), path[-1]
    value = inner[key]
    match draw(
        st.sampled_from(("drop", "rename", "odd", "odd", "near", "near", "wrap", "unwrap", "swap", "add", "copy"))
    ):
        case "drop":
            del inner[key]
        case "rename" if isinstance(inner, dict):
            inner[_renamed(draw, str(key))] = inner.pop(key)
        case "near" if isinstance(value, int | float) and not isinstance(value, bool):
            factor = draw(st.sampled_from((0, -1, 0.5, 1.5, 2, 10, 1000, 1e6, 1e12, 1.0000001)))
            inner[key] = value * factor if draw(st.booleans()) else value + draw(st.integers(-3, 3))
        case "near" if isinstance(value, str):
            inner[key] = draw(st.sampled_from(names))
        case "wrap":
            inner[key] = draw(
                st.sampled_from(([value], [[value]], {"type": value}, {str(key): value}, [value, value], str(value)))
            )
        case "unwrap" if isinstance(value, dict | list):
            inner[key] = next(iter(value.values() if isinstance(value, dict) else value), None)
        case "swap":
            other = draw(st.sampled_from(all_places))
            if path != other[: len(path)] and other != path[: len(other)]:
                there = _at(tree, other[:-1])
                inner[key], there[other[-1]] = there[other[-1]], value
        case "add" if isinstance(value, dict):
            value[draw(st.sampled_from(names))] = draw(odd)
        case "copy" if isinstance(inner, dict):
            inner[key] = copy.deepcopy(_at(tree, draw(st.sampled_from(all_places))))
        case _:
            inner[key] = draw(odd)


def _changed_text(draw: st.DrawFn, text: str) -> bytes:
    """Change the text itself: what an editor, a merge or a bad copy does to a file."""
    lines = text.splitlines()
    at = draw(st.integers(0, max(0, len(lines) - 1)))
    line = lines[at] if lines else ""
    match draw(st.sampled_from(CHANGES_OF_TEXT)):
        case "tab":
            lines[at : at + 1] = ["\t" + line.lstrip()]
        case "dedent":
            lines[at : at + 1] = [line.lstrip()]
        case "indent":
            lines[at : at + 1] = ["   " + line]
        case "twice":
            lines.insert(at, line)
        case "cut":
            return text.encode()[: draw(st.integers(0, len(text.encode())))]
        case "character":
            where = draw(st.integers(0, len(text)))
            return (
                text[:where] + draw(st.sampled_from(":{}[],&*!|>'\"%@`#-?\t\x00\x85\u2028é🙂")) + text[where:]
            ).encode()
        case "tag":
            tag = draw(
                st.sampled_from(
                    ("!!python/object:os.system", "!!binary", "!!set", "!!int", "!mine", "!!timestamp", "!!float")
                )
            )
            lines[at : at + 1] = [line.replace(": ", f": {tag} ", 1)]
        case "anchor":
            lines[at : at + 1] = [line.replace(": ", ": &a ", 1)]
            lines.append("question: *a")
        case "alias":
            lines[at : at + 1] = [line.partition(":")[0] + ": *nowhere"]
        case "merge":
            lines.append(draw(st.sampled_from(("<<: *a", "<<: 3", "<<: [1, 2]", "<<: {seed: 3}", "me: &m {<<: *m}"))))
        case "laughs":
            begin = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
            lines += begin + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
        case "document":
            lines.insert(at, "---")
        case "crlf":
            return "\r\n".join(lines).encode()
        case "bom":
            return b"\xef\xbb\xbf" + text.encode()
        case "latin":
            return text.encode() + b"# caf\xe9\n"
        case "utf16":
            return text.encode("utf-16")
        case "nul":
            return text.encode()[: draw(st.integers(0, len(text)))] + b"\0" + text.encode()
        case "quote":
            lines[at : at + 1] = [line.replace(": ", ": '", 1)]
        case "comment":
            lines[at : at + 1] = [f"# {line}"]
    return "\n".join(lines).encode() + b"\n"


@st.composite
def mutated(draw: st.DrawFn, texts: Sequence[str], names: Sequence[str]) -> bytes:
    """Draw the bytes of a study file: one of `texts` with one to four things changed. names: see `_odd_values`."""
    text = draw(st.sampled_from(texts))
    odd = _odd_values(names)
    how = draw(st.sampled_from(("values", "values", "values", "text", "both")))
    if how != "text":
        tree = yaml.safe_load(text)
        for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
            _changed(draw, tree, names, odd)
        text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False, width=10**6)
    return text.encode("utf-8", "surrogatepass") if how == "values" else _changed_text(draw, text)
