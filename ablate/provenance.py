"""Which source a component's behaviour is written in, so that a changed plugin is noticed."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def source_hash(file: Path, module: str) -> str:
    """SHA-256 over a module's file and all modules of its own package that it imports, at any depth.

    Imports inside functions count; other packages do not (their versions are recorded instead).
    """
    package, _, rest = module.partition(".")
    found = {module: file}
    waiting = [module] if rest else []
    while waiting:
        name = waiting.pop()
        for imported in _imports(found[name], name, package):
            if imported not in found and (path := _file(imported)) is not None:
                found[imported] = path
                waiting.append(imported)
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(found[name].read_bytes())
    return total.hexdigest()


@cache
def _imports(file: Path, module: str, package: str) -> tuple[str, ...]:
    """Full names below `package` that a module imports, and names that may be modules."""
    home = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    return tuple(_find_imports(ast.parse(file.read_bytes()), home, package))


def _find_imports(tree: ast.AST, home: list[str], package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == package)
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) + 1 - node.level] if node.level else []  # `from ..sibling import name`
            name = ".".join([*above, *([node.module] if node.module else [])])
            if name.split(".")[0] == package:
                yield name
                yield from (f"{name}.{a.name}" for a in node.names)  # `from package import module`


def _file(module: str) -> Path | None:
    """The module's file, found on disk beside its package: nothing is imported to be hashed."""
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(folder, *rest)
        for file in (place.with_suffix(".py") if rest else place / "__init__.py", place / "__init__.py"):
            if file.is_file():
                return file
    return None  # `from module import name`, where the name is no module
