"""The public surface, and rules that the whole tree keeps."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import ablate

PACKAGE = Path(ablate.__file__).parent


def test_no_module_is_called_like_a_public_function():
    modules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert not modules & set(ablate.__all__)


def test_the_public_functions_are_there_and_survive_imports():
    import ablate.discovery.catalog
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


def test_the_framework_asks_components_and_never_tests_their_names():
    """No `x.name == "adaln"`, and no `spec["type"] == "adaln"`."""
    known = {entry.name for entry in ablate.catalog().entries()}
    assert [told for file in sorted(PACKAGE.rglob("*.py")) for told in comparisons(file, known)] == []


def comparisons(file: Path, known: set[str]) -> Iterator[str]:
    """Where a file compares a component's name with one that it knows."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Compare):
            continue
        sides = (node.left, *node.comparators)
        words = {w.value for side in sides for w in ast.walk(side) if isinstance(w, ast.Constant)}
        asks = any(isinstance(side, ast.Attribute) and side.attr in ("name", "full_name") for side in sides)
        asks |= any("'type'" in ast.unparse(side) for side in sides)
        if asks and words & known:
            yield f"{file}:{node.lineno}: {ast.unparse(node)}"


def test_the_package_shows_what_it_offers_and_nothing_that_it_imports() -> None:
    import ablate

    assert {name for name in dir(ablate) if not name.startswith("__")} == set(ablate.__all__)


ELSEWHERE = """
import importlib, os, pkgutil, signal, sys
import optuna, pandas, platformdirs, psutil, pyarrow, rich.console, ruamel.yaml, torch, typer
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fork", "pread", "sched_getaffinity", "getuid", "O_DIRECTORY", "killpg"):
    delattr(os, name)
import ablate, ablate.api
for module in pkgutil.walk_packages(ablate.__path__, "ablate."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(ablate.catalog().broken, ablate.create("executor", "local").name)
try:
    ablate.create("executor", "local").start("ablate.worker.trial_run:run", "cpu")
except ablate.api.InputError as error:
    print(error)
"""


def test_everything_can_be_imported_where_a_system_has_no_fcntl_and_no_posix_signals():
    """Windows and macOS lack these; whatever is imported for Linux alone is imported where it is used."""
    ran = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["[] local", "studies are run on Linux or macOS; on Windows, run this in WSL"]
