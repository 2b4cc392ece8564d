"""`ablate plugins new`: a plugin's folder, ready to be installed, that passes `plugins check`."""

from __future__ import annotations

import importlib.util
import keyword
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ablate.errors import InputError, did_you_mean

TEMPLATES = Path(__file__).parent / "templates"
COMMON = {"pyproject.toml.j2": "pyproject.toml", "readme.md.j2": "README.md", "test.py.j2": "test_{module}.py"}


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the plugin and its component, such as soft_gate.")],
    kind: Annotated[str, typer.Option(help="What it brings: weighting, conditioning or fusion.")] = "weighting",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where its folder is made.")] = Path(),
) -> None:
    """Write a plugin to begin with: pyproject.toml, one module with one component, and its test."""
    from ablate.discovery.catalog import catalog
    from ablate.io.files import nameable

    kinds = sorted(path.name.removesuffix(".py.j2") for path in TEMPLATES.glob("*.py.j2") if path.name not in COMMON)
    if kind not in kinds:
        raise InputError(f"there is no template for the kind {kind!r}{did_you_mean(kind, kinds)}", "--kind")
    module = _module(name)
    if module in {entry.name for entry in catalog().entries(kind)}:
        raise InputError(f"there is a {kind} {module!r} already: choose another name", "NAME")
    folder = write(nameable(out, "--out") / name, module, kind)
    print(f"{folder}: a {kind}, {module!r}. Change what it computes, then")
    print(f"  ablate plugins check {folder / module}.py")
    print(f"  pip install -e {folder}       from then on studies know it")


def write(folder: Path, module: str, kind: str) -> Path:
    """Write the files, all or none. Raises InputError where there is something already."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from ablate.discovery.api_version import VERSION

    if folder.exists() or folder.is_symlink():
        raise InputError("is there already, and nothing is overwritten: choose another name, or --out", str(folder))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    words = {
        "distribution": folder.name,
        "module": module,
        "title": "".join(word.capitalize() for word in module.split("_")),
        "kind": kind,
        "api_version": VERSION,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        written = Path(temporary) / folder.name
        written.mkdir()
        for template, file in {**COMMON, f"{kind}.py.j2": "{module}.py"}.items():
            text = environment.get_template(template).render(words)
            (written / file.format(**words)).write_text(text, encoding="utf-8")
        written.rename(folder)
    return folder


def _module(name: str) -> str:
    """Return the importable name. Raises InputError for one that is no name, or is taken."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", name):
        raise InputError(
            f"{name!r} is no name: letters, digits, and '-' or '_' between them, such as soft_gate", "NAME"
        )
    module = name.replace("-", "_").lower()
    spec = None if keyword.iskeyword(module) else importlib.util.find_spec(module)
    if keyword.iskeyword(module) or (spec and spec.origin):  # a folder that lies about has no origin
        raise InputError(f"Python has a {module!r} already: choose another name", "NAME")
    return module
