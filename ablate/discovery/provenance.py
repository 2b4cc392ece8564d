"""Provenance of a component: hashes of the source that decides its behaviour, so that a change is noticed.

A hash is taken over what Python makes of a file (its syntax tree), not over its bytes: comments, formatting and
docstrings may change. It covers the file and every module that it imports and that no version speaks for: its own
package, other plugins, helpers beside a local plugin or elsewhere. The standard library and installed distributions
are left out (their versions are recorded), and so is `ablate` itself, which has a hash of its own, `framework()`.

What counts is what a process imported, not what lies on disk later: a file is read once a process.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ablate.discovery import hooks

SCHEME = "ast-1"  # how a hash is taken; hashes of two schemes cannot be compared
FRAMEWORK = "ablate"
SHOWN = 12  # digits of a hash that a message shows
_ELSEWHERE = (
    "cli",
    "engine",
    "execute",
    "results",
    "statistics",
    "study",
    "testing",
)  # of ablate: no trial's numbers depend on it
_BY_DOCSTRING = (b"__doc__", b"getdoc")  # in a file that says so, docstrings decide too
_HOLD_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_contents: dict[Path, bytes] = {}  # the content of files as this process imported them


class _Syntax(NamedTuple):
    digest: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]  # level, module, names: as `from ..module import names`


def imported(file: Path, content: bytes) -> None:
    """Record the content of a file that is imported now, before the file changes."""
    if _contents.get(file) != content:
        _contents[file] = content
        _syntax.cache_clear()
        _source_files.cache_clear()


def content(file: Path) -> bytes:
    """Return the content of a file as this process imported it, or first asked."""
    if file not in _contents:
        _contents[file] = file.read_bytes()
    return _contents[file]


def source_hash(file: Path, module: str) -> str:
    """Compute the SHA-256 over the syntax of a module and of all that it imports and that no version speaks for.

    Imports inside functions count, and `import_module` of a name that is written out.
    """
    total = hashlib.sha256(SCHEME.encode())
    for name, path in modules(file, module).items():
        total.update(f"{name}\0{_syntax(path).digest}\n".encode())
    return total.hexdigest()


def modules(file: Path, module: str) -> dict[str, Path]:
    """Return {module: file} of a component's source; its own module comes first, as "", whatever it is called."""
    return dict(_source_files(file, module))


def home() -> str:
    """Return the folder from which ablate itself is imported."""
    return str(Path(__file__).parents[1])


@cache
def framework() -> str:
    """Compute the SHA-256 over those files of ablate that decide a trial's numbers; over bytes, as parsing is slow."""
    folder = Path(home())
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        inside = file.relative_to(folder)
        if inside.parts[0] not in _ELSEWHERE:
            total.update(f"{inside.as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


@cache
def _source_files(file: Path, module: str) -> tuple[tuple[str, Path], ...]:
    package = module.partition(".")[0]
    files, waiting = {module: file}, [module]
    while waiting:
        name = waiting.pop()
        for imported_name in _names(files[name], name):
            if imported_name not in files and (path := _file(imported_name, package)) is not None:
                files[imported_name] = path
                waiting.append(imported_name)
    first = files.pop(module)
    return (("", first), *sorted(files.items()))


def _names(file: Path, module: str) -> Iterator[str]:
    """Yield full names that a module imports, and names that may be modules."""
    home = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for level, base, names in _syntax(file).imports:
        above = home[: len(home) + 1 - level] if level else []  # `from ..sibling import name`
        full = ".".join([*above, *([base] if base else [])])
        if full:
            yield full
            yield from (f"{full}.{name}" for name in names)  # `from package import module`


@cache
def _syntax(file: Path) -> _Syntax:
    source = content(file)
    try:
        tree = ast.parse(source) if file.suffix == ".py" else None
    except (SyntaxError, ValueError, RecursionError):
        tree = None
    if tree is None:  # compiled, or a file that nothing can import
        return _Syntax(hashlib.sha256(source).hexdigest(), ())
    docstrings = any(word in source for word in _BY_DOCSTRING)
    return _Syntax(hashlib.sha256(dump(tree, docstrings).encode()).hexdigest(), tuple(_imports(tree)))


def dump(tree: ast.AST, docstrings: bool = False) -> str:
    """Write the tree as text: the same for any Python that understands the source, whatever its comments.

    Fields that are empty are left out (each version of Python adds some). Without recursion: an expression may be
    nested deeper than Python's own stack.
    """
    words: list[str] = []
    waiting: list[Any] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            words.append(item)
            continue
        parts: list[Any] = [type(item).__name__, "("]
        for field in item._fields:
            value: Any = getattr(item, field, None)
            if field == "body" and not docstrings and isinstance(item, _HOLD_DOCSTRINGS):
                value = [statement for statement in value if not _is_text(statement)]
            if field == "values" and isinstance(item, ast.JoinedStr):
                value = list(_joined(value))
            if value is None or value == [] or field in ("kind", "type_comment", "type_ignores"):
                continue
            parts += [field, "=", *_parts(value), ","]
        waiting += reversed([*parts, ")"])
    return "".join(words)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, ast.AST):
        return [value]
    if isinstance(value, list):
        return ["[", *(part for one in value for part in (*_parts(one), ",")), "]"]
    if isinstance(value, int) and not isinstance(value, bool):
        return [hex(value)]  # in decimal Python refuses very long ones
    return [repr(value)]


def _is_text(statement: ast.stmt) -> bool:
    """Return whether a statement is a bare string: the docstring of a module, class, function or field."""
    return isinstance(statement, ast.Expr) and _text(statement.value) is not None


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _joined(values: list[ast.expr]) -> Iterator[ast.expr]:
    """Yield the parts of an f-string; how its plain text is cut up differs between versions of Python."""
    plain = ""
    for value in values:
        if (text := _text(value)) is not None:
            plain += text
            continue
        if plain:
            yield ast.Constant(plain)
        plain = ""
        yield value
    if plain:
        yield ast.Constant(plain)


def _imports(tree: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and (name := _text(node.args[0])) is not None:
            function = getattr(node.func, "attr", getattr(node.func, "id", None))
            if function in ("import_module", "__import__") and not name.startswith("."):
                yield 0, name, ()


def _file(module: str, package: str) -> Path | None:
    """Return the module's file; None where it is no module, or one that a version speaks for. Nothing is imported."""
    top = module.partition(".")[0]
    if top in (FRAMEWORK, "__main__", "__future__") or top in sys.stdlib_module_names:
        return None
    file = _place(module)
    if file is None or (top not in (package, *_plugins()) and not _STORED.isdisjoint(file.parts)):
        return None
    return file


_STORED = frozenset({"site-packages", "dist-packages"})


def _place(module: str) -> Path | None:
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is not None:
        return Path(loaded).resolve()
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest and spec.submodule_search_locations is None:
        return Path(spec.origin).resolve() if spec.origin is not None and spec.has_location else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *rest)
        for file in (*([place.with_suffix(".py")] if rest else []), place / "__init__.py"):
            if file.is_file():
                return file.resolve()
    return None  # `from module import name`, where the name is no module


def is_local(file: Path, module: str) -> bool:
    """Return whether a file belongs to its user, not to a package that has a version."""
    return module.partition(".")[0] not in (FRAMEWORK, *_plugins()) and _STORED.isdisjoint(file.parts)


@cache
def _plugins() -> frozenset[str]:
    """Return the packages that bring components: always by source, wherever they are installed."""
    return frozenset(point.module.partition(".")[0] for point in importlib.metadata.entry_points(group=hooks.GROUP))
