"""Reads YAML, and keeps the line of every key and item."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import TaggedScalar
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.tokens import ScalarToken, TagToken

from ablate.errors import InputError
from ablate.errors import Path as Keys
from ablate.spec.explain import short

MOST = 100_000  # values in one file; aliases of aliases can stand for any number of them
BREAK = "\r\n|[\n\r\x85\u2028\u2029]"  # what YAML takes for the end of a line
LONGEST_KEY = 300  # letters
DEEPEST = 50  # mappings and lists inside of each other


@dataclass(frozen=True)
class Document:
    """Plain data, and the place of each part of it: a line of a file, or an argument."""

    data: dict[str, Any]
    lines: Mapping[Keys, int] = field(default_factory=dict)  # counted from 1
    file: Path | None = None
    text: str | None = None
    origins: Mapping[Keys, str] = field(default_factory=dict)  # of what is not in the file: an `Argument`

    def line(self, path: Keys) -> int | None:
        """Return the line of a key or an item; of what it stands in, where it has none of its own."""
        return next((self.lines[above] for above in _upwards(path) if above in self.lines), None)

    def where(self, path: Keys) -> str | None:
        """Return `file:line`, or the option that brought the value."""
        for above in _upwards(path):
            if above in self.origins:
                return self.origins[above]
            if above in self.lines:
                return f"{self.file}:{self.lines[above]}"
        return None if self.file is None else str(self.file)

    def with_value(self, path: Keys, value: Any, origin: str | None) -> Document:
        """Return the document with another value at a path; mappings on the way are created.

        A component's name becomes a mapping. Raises InputError where something on the way has no fields.
        """
        data = deepcopy(self.data)
        inner: Any = data
        made = [path]
        for depth, key in enumerate(path[:-1]):
            child = inner.get(key)
            if isinstance(child, str):
                child = {"type": child}
            elif child is None:
                child = {}
                made.append(path[: depth + 1])
            elif not isinstance(child, dict):
                place = ".".join(map(str, path[: depth + 1]))
                raise InputError(f"{place} is {child!r}, which has no {path[depth + 1]!r}; give it whole", origin)
            inner[key] = child
            inner = child
        inner[path[-1]] = value

        def outside(other: Keys) -> bool:
            return other[: len(path)] != path

        lines = {other: line for other, line in self.lines.items() if outside(other)}
        origins = {other: argument for other, argument in self.origins.items() if outside(other)}
        return Document(
            data, lines, self.file, self.text, {**origins, **(dict.fromkeys(made, origin) if origin else {})}
        )


def document_of(data: Mapping[str, Any]) -> Document:
    """Return a study that is a mapping as a document. Raises InputError for one that a file could not hold."""
    _check_size(data, 0, [0])
    return Document(dict(data))


def _check_size(node: Any, depth: int, count: list[int]) -> None:
    count[0] += 1
    if count[0] > MOST or depth > DEEPEST:
        raise InputError(f"the study holds more than {MOST} values, or is nested too deeply")
    if isinstance(node, str):
        _checked_text(node, None)
    children = (*node, *node.values()) if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()
    for child in children:
        _check_size(child, depth + 1, count)


def read(path: str | Path) -> Document:
    """Read the mapping in a YAML file. Raises InputError where there is none."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no such file{_neighbours(path)}", str(path)) from None
    except IsADirectoryError:
        if (path / "lock.json").is_file():
            problem = f"is the folder of a study that was run; its file is {path / 'study.yaml'}"
            raise InputError(f"{problem}, and `ablate status {path}` tells how it stands", str(path)) from None
        hint = _list(sorted(p.name for p in path.glob("*.y*ml")))
        raise InputError(f"is a folder, not a study file{hint}", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path)) from None
    if (other := _other_sort(path, raw)) is not None:
        raise InputError(f"{other}, not a study; a study is a YAML file, as in studies/", str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        raise InputError(message, f"{path}:{line}") from None
    return parse(text, path)


def _other_sort(path: Path, raw: bytes) -> str | None:
    """Return what a file is that is no YAML; None where it may be YAML."""
    if path.suffix == ".py":
        return f"is Python code (components come in by --plugin {path.name})"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is text in UTF-16 (save it as UTF-8)"
    return f"is a {path.suffix or 'binary'} file without text" if b"\0" in raw[:4096] else None


def parse(text: str, file: Path) -> Document:
    """Parse a YAML text that is a mapping. Raises InputError with file and line."""
    loaded = _load(text, str(file))
    if loaded is None:
        raise InputError("the file is empty; a study needs at least study, data, base, design and budget", str(file))
    if not isinstance(loaded, dict):
        raise InputError(f"expected `key: value` lines at the top, not a {_type_name(loaded)}", f"{file}:1")
    lines: dict[Keys, int] = {(): 1}
    data = _plain(loaded, (), lines, str(file), [0])
    assert isinstance(data, dict)
    return Document(data, lines, file, text)


def value(text: str, where: str) -> Any:
    """Parse one value in YAML's notation, such as `200_000` or `[adaln, adaln_zero]`."""
    return _plain(_load(text, None, where), (), None, where, [0])


def _load(text: str, file: str | None, where: str | None = None) -> Any:
    """Load a text by ruamel.yaml; its errors become InputErrors."""
    yaml = YAML(typ="rt", pure=True)
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if file and mark is not None else file or where
        raise InputError(_advice(error, text), place) from None
    except ReaderError as error:
        place = f"{file}:{len(re.split(BREAK, text[: error.position]))}" if file else where
        raise InputError("holds a character that YAML does not allow; remove it", place) from None
    except RecursionError:
        raise InputError("is nested too deeply", file or where) from None
    except YAMLError as error:
        raise InputError(f"is no YAML: {str(error).splitlines()[0]}", file or where) from None
    except (ValueError, LookupError):  # such as 2020-99-99; LookupError from "-_", a number without a digit
        word, line = _no_number(text)
        problem = f"{word!r} looks like a number or a date, or is tagged as one, and is none; put it in quotes"
        raise InputError(problem, f"{file}:{line}" if file else where) from None
    except Exception as error:  # noqa: BLE001 - ruamel.yaml's own: tags and merges that hold themselves
        problem, line = _unreadable(text)
        place = f"{file}:{line}" if file else where
        raise InputError(f"{problem} ({type(error).__name__} in the YAML reader)", place) from None


def _no_number(text: str) -> tuple[str, int]:
    """Return the first word that the YAML reader takes for what it is not, and its line."""
    for node in _scalars(YAML(typ="rt", pure=True).compose(text), set()):
        try:
            YAML(typ="rt", pure=True).constructor.construct_object(node, deep=True)
        except (ValueError, LookupError):
            return str(node.value)[:100], node.start_mark.line + 1
    return "a word", 1


def _scalars(node: Any, seen: set[int]) -> Iterator[ScalarNode]:
    """Yield the scalars of a node in their order, each once, also where an alias holds itself."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, CollectionNode):
        for child in node.value:
            for inner in child if isinstance(child, tuple) else (child,):
                yield from _scalars(inner, seen)


def _unreadable(text: str) -> tuple[str, int]:
    """Return what the YAML reader fails at, a tag or a merge, and its line."""
    for token in YAML(typ="rt", pure=True).scan(text):
        line = token.start_mark.line + 1
        if isinstance(token, TagToken):
            return "a tag (!…) that does not fit what it stands before; write the value alone", line
        if isinstance(token, ScalarToken) and token.value == "<<" and token.plain:
            return "a merge (<<) of something that is no mapping, or that holds itself; write the keys out", line
    return "cannot be read as YAML", 1


def _advice(error: MarkedYAMLError, text: str) -> str:
    """Return what is wrong and what to do, in a line."""
    problem = str(error.problem or error.context)
    lines = re.split(BREAK, text)
    number = error.problem_mark.line if error.problem_mark else 0  # counted from 0, as `begun`
    begun = error.context_mark.line if error.context_mark else number
    if isinstance(error, DuplicateKeyError):
        name = problem.partition('"')[2].partition('"')[0]
        column = error.problem_mark.column if error.problem_mark else 0
        first = next(
            (n for n in range(begun, min(number, len(lines))) if lines[n][column:].lstrip("\"'").startswith(name)),
            begun,
        )
        return f"the key {name!r} stands here and on line {first + 1}; keep one of the two"
    line = lines[min(number, len(lines) - 1)]
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return "a tab stands in the indentation; YAML wants spaces"
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one line; put a value that holds one in quotes, or break the line"
    if "another document" in problem:
        return "a second document begins here ('---'); a file holds one"
    since = f", begun on line {begun + 1}" if begun != number else ""
    return f"{problem} ({error.context}{since}); check indentation, brackets and quotes" if error.context else problem


def _plain(node: Any, path: Keys, lines: dict[Keys, int] | None, file: str, count: list[int]) -> Any:
    """Return a node as dicts, lists, numbers and words; the line of each goes into `lines`, where that is not None."""
    count[0] += 1
    if count[0] > MOST or len(path) > DEEPEST:
        raise InputError(f"holds more than {MOST} values, or is nested too deeply", file)
    place = f"{file}:{next((lines[p] for p in _upwards(path) if p in lines), 1)}" if lines else file
    if isinstance(node, dict):
        values = {}
        for key, inner in node.items():
            if not isinstance(key, str):
                raise InputError(_key_advice(key, inner), _place_of_key(node, key, file, place) if lines else place)
            if len(_checked_text(key, place)) > LONGEST_KEY:
                raise InputError(f"a key of {len(key):,} letters: {short(key)}", place)
            _mark(node, "key", key, (*path, key), lines)
            values[str(key)] = _plain(inner, (*path, str(key)), lines, file, count)
        return values
    if isinstance(node, list):
        for i in range(len(node)):
            _mark(node, "item", i, (*path, i), lines)
        return [_plain(inner, (*path, i), lines, file, count) for i, inner in enumerate(node)]
    if isinstance(node, bool | ScalarBoolean):
        return bool(node)
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return float(node)
    if isinstance(node, str):
        return _checked_text(str(node), place)
    if isinstance(node, datetime.date):
        return node.isoformat()
    if node is None:
        return None
    if isinstance(node, TaggedScalar):
        raise InputError(f"the tag {node.tag.value} means nothing here; write the value alone", place)
    raise InputError(f"expected words, numbers, lists and mappings, not a {_type_name(node)}", place)


def _key_advice(key: Any, value: Any) -> str:
    """Return what to do about a key that is no word."""
    if value is None and isinstance(key, int | float) and not isinstance(key, bool):
        return f"a comma ends the value before {key!r}: a number is written without, such as 1000 or 1_000"
    return f"a key must be a word, not {short(key)}; put it in quotes"


def _place_of_key(node: Any, key: Any, file: str, otherwise: str) -> str:
    """Return `file:line` of a key, where that is known."""
    position = getattr(node, "lc", None)
    if position is None or not position.data or key not in position.data:
        return otherwise
    return f"{file}:{position.key(key)[0] + 1}"


def _checked_text(text: str, where: str | None) -> str:
    """Return the text. Raises InputError for a character that neither a path nor a file can have."""
    odd = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
    if odd is None:
        return text
    raise InputError(f"{short(text)} holds the character {odd!r}, which no name or path has; remove it", where)


def _mark(node: Any, sort: str, key: Any, path: Keys, lines: dict[Keys, int] | None) -> None:
    """Keep the line of a key or an item; what a merge (`<<`) brought has none."""
    position = getattr(node, "lc", None)
    if lines is not None and position is not None and position.data and key in position.data:
        lines[path] = getattr(position, sort)(key)[0] + 1


def _upwards(path: Keys) -> Iterator[Keys]:
    for length in range(len(path), -1, -1):
        yield path[:length]


def _type_name(node: Any) -> str:
    return {"CommentedSeq": "list", "CommentedMap": "mapping"}.get(type(node).__name__, type(node).__name__)


def _neighbours(path: Path) -> str:
    """Return the study files beside a path that is not there, for a message."""
    if not path.parent.is_dir():
        return f" (nor a folder {path.parent})"
    names = sorted(p.name for pattern in ("*.yaml", "*.yml") for p in path.parent.glob(pattern))
    near = [name for name in names if Path(name).stem == path.stem] or get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else _list(names)


def _list(names: Sequence[str]) -> str:
    return f"; there is: {', '.join(names[:20])}" if names else ""
