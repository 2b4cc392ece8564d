"""The public surface, and rules that the whole tree keeps."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ablate

PACKAGE = Path(ablate.__file__).parent
ZOO = PACKAGE.parent / "plugins" / "ablate_zoo"
FILES = sorted(PACKAGE.rglob("*.py"))


def test_no_module_is_called_like_a_public_function():
    modules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert not modules & set(ablate.__all__)


def test_the_public_functions_are_there_and_survive_imports():
    import ablate.registry
    import ablate.study.plan

    assert all(callable(getattr(ablate, name)) for name in ablate.__all__)


def test_importing_ablate_imports_nothing_heavy():
    code = "import sys, ablate, ablate.api; print(sorted({'torch', 'pandas', 'optuna', 'ray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_catalog_is_whole():
    catalog = ablate.catalog()
    assert catalog.broken == []
    assert {"backbone", "conditioning", "schedule", "solver", "data", "metric", "executor"} <= set(catalog.kinds())
    assert catalog.get("schedule", "cosine").name == "cosine"


def test_create_takes_a_name_or_a_mapping():
    assert ablate.create("schedule", "cosine") == ablate.create("schedule", {"type": "cosine"})


def test_published_has_the_literature():
    table = ablate.published()
    assert isinstance(table, pd.DataFrame)
    assert table.columns[:5].tolist() == ["model", "block", "resolution", "data", "gflops"]
    assert len(table) == 53


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_the_framework_asks_components_and_never_tests_their_names(file):
    """No `x.name == "adaln"`, and no `spec["type"] == "adaln"`."""
    known = {entry.name for entry in ablate.catalog().entries()}
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Compare):
            continue
        sides = (node.left, *node.comparators)
        words = {w.value for side in sides for w in ast.walk(side) if isinstance(w, ast.Constant)}
        asks = any(isinstance(side, ast.Attribute) and side.attr in ("name", "full_name") for side in sides)
        asks |= any("'type'" in ast.unparse(side) for side in sides)
        assert not (asks and words & known), f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("file", [*FILES, *sorted(ZOO.rglob("*.py"))], ids=lambda f: f"{f.parent.name}/{f.name}")
def test_no_pickle_and_no_bare_except(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
            assert not names & {"pickle", "dill", "cloudpickle", "shelve", "marshal"}, f"line {node.lineno}"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {node.lineno}"


def test_the_package_shows_what_it_offers_and_nothing_that_it_imports() -> None:
    import ablate

    assert {name for name in dir(ablate) if not name.startswith("__")} == set(ablate.__all__)
