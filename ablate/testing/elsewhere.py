"""The same catalog in another process, optionally without torch: run once for a whole catalog."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ablate.runtime import stdout
from ablate.testing.case import Case

BLOCKED = "torch is not to be imported here"


def digest_elsewhere(case: Case) -> str:
    """Return the digest of the same component in a process with another hash seed."""
    if case.spec is None:
        digest = _all(case.catalog.plugins, False)["digests"].get(_key(case))
    else:
        specs = json.dumps([[case.kind, case.entry.full_name, case.given]])
        digest = json.loads(_run(case.catalog.plugins, False, specs))["digests"].get(_key(case))
    assert isinstance(digest, str), "another process does not find the component, or cannot make it"
    return digest


def needs_torch(case: Case) -> str | None:
    """Explain why the component cannot be loaded where torch cannot be imported; None if it can."""
    report = _all(case.catalog.plugins, True)
    if _key(case) in report["names"]:
        return None
    reasons = [b["traceback"] for b in report["broken"] if b["module"] == case.entry.cls.__module__]
    return "importing its module imports torch: do that inside `build`\n" + "".join(reasons)


def _key(case: Case) -> str:
    return f"{case.kind}/{case.entry.full_name}"


@lru_cache(maxsize=8)
def _all(plugins: tuple[str, ...], without_torch: bool) -> Any:
    return json.loads(_run(plugins, without_torch, "null"))


def _run(plugins: Sequence[str], without_torch: bool, specs: str) -> str:
    blocked = "torch" if without_torch else ""
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; from {__name__} import look; look(*sys.argv[1:])",
            blocked,
            specs,
            *plugins,
        ],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, f"another process could not load the plugins:\n{process.stderr}"
    return process.stdout


def look(blocked: str, specs: str, *plugins: str) -> None:
    """Print the digests of all components, or of those that are given: what the other process runs."""
    with stdout.reserve_stdout():  # components may print while they are made
        _look(blocked, specs, plugins)
    stdout.end()


def _look(blocked: str, specs_as_json: str, plugins: Sequence[str]) -> None:
    if blocked:
        sys.modules[blocked] = None  # type: ignore[assignment]  # from here, importing it is an ImportError
    from ablate.discovery.catalog import Catalog
    from ablate.errors import InputError

    catalog = Catalog(plugins)
    specs = json.loads(specs_as_json)
    if specs is None:
        specs = [[e.kind, e.full_name, {"type": e.full_name}] for e in catalog.entries()]
    digests = {}
    for kind, name, spec in specs:
        try:
            digests[f"{kind}/{name}"] = catalog.create(kind, spec).digest()
        except InputError:
            continue  # it has no complete defaults
    broken = [{"module": one.module, "traceback": one.traceback} for one in catalog.broken]
    names = [f"{e.kind}/{e.full_name}" for e in catalog.entries()]
    print(json.dumps({"digests": digests, "names": names, "broken": broken}), file=stdout.document(), flush=True)
