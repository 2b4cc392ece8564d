"""Running checks: on one component, on all of a target, and as a parametrised test."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ablate.registry import Catalog, Entry
from ablate.testing import common
from ablate.testing.case import Case, Check, NotApplicable
from ablate.testing.target import find

SEED = 0


@dataclass(frozen=True)
class Outcome:
    """What one check said of one component."""

    component: str  # `kind/name`
    check: str
    state: Literal["passed", "failed", "skipped"]
    reason: str = ""


def checks(kind: str) -> list[Check]:
    """What must hold of a component of this kind: what holds of all, then what its kind asks for.

    The name of a function is the name of its check, its docstring says what must hold. A kind that
    a plugin brings has the checks of all kinds.
    """
    own = f"{__package__}.kinds.{kind}"
    if not kind.isidentifier() or importlib.util.find_spec(own) is None:
        return list(common.CHECKS)
    return [*common.CHECKS, *getattr(importlib.import_module(own), "CHECKS", ())]


def examine(entry: Entry, catalog: Catalog, spec: Mapping[str, Any] | None = None) -> Iterator[Outcome]:
    """Every check of the component's kind, each with its outcome.

    spec: values for fields without a default. A component that cannot be made fails once.
    """
    case, name = Case(entry, catalog, spec), f"{entry.kind}/{entry.name}"
    for check in checks(entry.kind):
        outcome = _outcome(name, check, case)
        yield outcome
        if check is common.makes_from_defaults and outcome.state != "passed":
            return


def check_component(entry: Entry, catalog: Catalog, spec: Mapping[str, Any] | None = None) -> None:
    """Raise AssertionError with every check that the component does not pass."""
    failed = [one for one in examine(entry, catalog, spec) if one.state == "failed"]
    if failed:
        told = "\n".join(f"  {one.check}: {one.reason}" for one in failed)
        raise AssertionError(f"{entry.kind}/{entry.name} does not conform:\n{told}")


def conformance(target: str | Path, specs: Mapping[str, Mapping[str, Any]] | None = None) -> Callable[..., None]:
    """A pytest test of everything that a plugin brings, one for each component and check.

        test = conformance("mylab_ablate", specs={"data/scans": {"path": "tests/scans"}})

    target: a `.py` file, a distribution, an importable module, or `kind/name`. specs: values for the
    fields that have no default. Raises InputError where there is no such plugin.
    """
    import pytest

    found, given = find(str(target)), specs or {}
    cases = [
        (Case(e, found.catalog, given.get(f"{e.kind}/{e.name}")), check)
        for e in found.entries
        for check in checks(e.kind)
    ]
    names = [f"{case.kind}/{case.entry.name}: {check.__name__}" for case, check in cases]

    @pytest.mark.parametrize(("case", "check"), [(None, None), *cases], ids=["loads", *names])
    def test(case: Case | None, check: Check | None) -> None:
        if case is None or check is None:
            assert not found.broken, "\n".join(one.traceback for one in found.broken)
            return
        try:
            call(check, case)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    return test


def call(check: Check, case: Case) -> None:
    """Run a check from one fixed random state, and leave torch's own as it was."""
    with contextlib.ExitStack() as stack:
        if "torch" in sys.modules:
            import torch

            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.manual_seed(SEED)
        check(case)


def _outcome(name: str, check: Check, case: Case) -> Outcome:
    try:
        call(check, case)
    except NotApplicable as reason:
        return Outcome(name, check.__name__, "skipped", str(reason))
    except AssertionError as error:
        return Outcome(name, check.__name__, "failed", str(error) or "AssertionError")
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and that is a failure too
        return Outcome(name, check.__name__, "failed", f"{type(error).__name__}: {error}")
    return Outcome(name, check.__name__, "passed")
