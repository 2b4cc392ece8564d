"""`ablate plugins new`: a plugin's folder, ready to be installed, that passes `plugins check`."""

from __future__ import annotations

import importlib.util
import keyword
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ablate.errors import InputError, did_you_mean

TEMPLATES = Path(__file__).parent / "templates"
COMMON = {
    "pyproject.toml.j2": "pyproject.toml",
    "readme.md.j2": "README.md",
    "test.py.j2": "test_{module}.py",
    "workflow.yml.j2": ".github/workflows/check.yml",
}


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the plugin and its component, such as soft_gate.")],
    kind: Annotated[
        str, typer.Option(help="What it brings, such as fusion; `ablate plugins list` names all kinds.")
    ] = "weighting",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where its folder, or file, is made.")] = Path(),
    file: Annotated[bool, typer.Option("--file", help="One file, for --plugin, instead of a package.")] = False,
) -> None:
    """Write a plugin to begin with, that works: a component of any kind, as a package or one file.

    A package has pyproject.toml, the module, its test, a study that tries it, README.md and a workflow for checks.
    """
    from ablate.discovery.catalog import catalog
    from ablate.io.files import nameable

    kinds = sorted(path.name.removesuffix(".py.j2") for path in TEMPLATES.glob("*.py.j2") if path.name not in COMMON)
    if kind not in kinds:
        raise InputError(f"there is no template for the kind {kind!r}{did_you_mean(kind, kinds)}", "--kind")
    module = _module(name)
    if module in {entry.name for entry in catalog().entries(kind)}:
        raise InputError(f"there is a {kind} {module!r} already: choose another name", "NAME")
    if file:
        path = write_file(nameable(out, "--out") / f"{module}.py", module, kind)
        print(f"{path}: a {kind}, {module!r}. Change what it computes, then")
        print(f"  ablate plugins check {path}")
        print(f"  ablate run STUDY --plugin {path}")
        return
    from ablate.cli.tried import study_words

    folder = write(nameable(out, "--out") / name, module, kind, study_words(kind, catalog()))
    print(f"{folder}: a {kind}, {module!r}. Change what it computes, then")
    print(f"  ablate plugins check {folder / module}.py")
    print(f"  pip install -e {folder}       from then on studies know it")


def write(folder: Path, module: str, kind: str, study: Mapping[str, Any] | None = None) -> Path:
    """Write the files of a package, all or none. Raises InputError where there is something already.

    study: what the study's template needs (`ablate.cli.tried`); None: it has no study.
    """
    _refuse_taken(folder)
    words = {**_words(module, kind), "distribution": folder.name, "study": study is not None, **(study or {})}
    files = {**COMMON, f"{kind}.py.j2": "{module}.py", **({"study.yaml.j2": "study.yaml"} if study else {})}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        written = Path(temporary) / folder.name
        written.mkdir()
        for template, name in files.items():
            path = written / name.format(**words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_render(template, words), encoding="utf-8")
        written.rename(folder)
    return folder


def write_file(path: Path, module: str, kind: str) -> Path:
    """Write the module alone. Raises InputError where there is something already."""
    from ablate.io.files import write_atomic

    _refuse_taken(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, _render(f"{kind}.py.j2", _words(module, kind)))
    return path


def _render(template: str, words: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(words)


def _words(module: str, kind: str) -> dict[str, Any]:
    from ablate.discovery.api_version import VERSION

    title = "".join(word.capitalize() for word in module.split("_"))
    return {"module": module, "title": title, "kind": kind, "api_version": VERSION}


def _refuse_taken(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError("is there already, and nothing is overwritten: choose another name, or --out", str(path))


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
