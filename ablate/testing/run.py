"""Running of checks: on one component, on all of a target, and as a parametrised test."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ablate.discovery.catalog import Catalog, Entry
from ablate.errors import InputError
from ablate.runtime.isolation import Before, GlobalStateError, isolated, staying
from ablate.spec.component import Component
from ablate.spec.explain import exception_message, exception_summary, full_traceback
from ablate.testing import common
from ablate.testing.case import SEED, Case, Check, NotApplicable
from ablate.testing.target import find


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check of one component."""

    component: str  # `kind/name`
    check: str
    state: Literal["passed", "failed", "skipped"]
    reason: str = ""
    traceback: str = ""  # of what failed


def checks(kind: str | type[Component]) -> list[Check]:
    """Return the checks of a component: those of all kinds, those of its kind, and those that its class adds.

    kind: the name of one of ablate's kinds, or a class. The name of a function is the name of its check, its
    docstring says what must hold. A kind that a plugin brings, and any component, adds checks of its own in
    `conformance_checks`.
    """
    name, added = (kind, []) if isinstance(kind, str) else (kind.kind, list(kind.conformance_checks()))
    module = f"{__package__}.kinds.{name}"
    if not name.isidentifier() or importlib.util.find_spec(module) is None:
        return [*common.CHECKS, *added]
    return [*common.CHECKS, *importlib.import_module(module).CHECKS, *added]


def examine(entry: Entry, catalog: Catalog, spec: Mapping[str, Any] | None = None) -> Iterator[Outcome]:
    """Run every check of the component's kind, and yield its outcome.

    spec: values for fields without a default. A component that cannot be made fails once.
    """
    case, name = Case(entry, catalog, spec), f"{entry.kind}/{entry.name}"
    for check in checks(entry.cls):
        outcome = outcome_of(name, check, case)
        yield outcome
        if check is common.makes_from_defaults and outcome.state != "passed":
            return


def check_component(entry: Entry, catalog: Catalog, spec: Mapping[str, Any] | None = None) -> None:
    """Raise AssertionError with every check that the component does not pass."""
    failed = [one for one in examine(entry, catalog, spec) if one.state == "failed"]
    if failed:
        reasons = "\n".join(f"  {one.check}: {one.reason}" for one in failed)
        raise AssertionError(f"{entry.kind}/{entry.name} does not conform:\n{reasons}")


def conformance(target: str | Path, specs: Mapping[str, Mapping[str, Any]] | None = None) -> Callable[..., None]:
    """Return a pytest test of everything that a plugin brings, one for each component and check.

        test = conformance("mylab_ablate", specs={"data/scans": {"path": "tests/scans"}})

    target: a `.py` file, a distribution, an importable module, or `kind/name`. specs: values for the
    fields that have no default. Raises InputError where there is no such plugin.
    """
    import pytest

    plugin, examples = find(str(target)), specs or {}
    cases = [
        (Case(e, plugin.catalog, examples.get(f"{e.kind}/{e.name}")), check)
        for e in plugin.entries
        for check in checks(e.cls)
    ]
    names = [f"{case.kind}/{case.entry.name}: {check.__name__}" for case, check in cases]

    @pytest.mark.parametrize(("case", "check"), [(None, None), *cases], ids=["loads", *names])
    def test(case: Case | None, check: Check | None) -> None:
        if case is None or check is None:
            assert not plugin.broken, "\n".join(one.traceback for one in plugin.broken)
            return
        try:
            call(check, case)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    return test


def call(check: Check, case: Case) -> None:
    """Run a check from one fixed random state, with everything that is global put back afterwards.

    Raises AssertionError also where the component changed something global, and where it ends the process.
    """
    with isolated(), staying():
        if "torch" in sys.modules:
            from ablate.runtime.randomness import seed_all

            seed_all(SEED)
        before, doing = Before(), f"{case.kind} {case.entry.name!r}"
        try:
            check(case)
        except NotApplicable:
            raise
        except Exception as error:
            if isinstance(error, GlobalStateError):
                raise AssertionError(str(error)) from error
            try:
                before.check_failed(doing, error)
            except GlobalStateError as change:
                raise AssertionError(str(change)) from error
            raise
        except (SystemExit, GeneratorExit) as error:
            raise AssertionError(f"ends the process: {exception_summary(error)}; raise an exception instead") from error
        try:
            before.check(doing, lambda: check(case))
        except GlobalStateError as change:
            raise AssertionError(str(change)) from None


def outcome_of(name: str, check: Check, case: Case) -> Outcome:
    """Run one check, and return its outcome; name: of the component, `kind/name`."""
    try:
        call(check, case)
    except NotApplicable as reason:
        return Outcome(name, check.__name__, "skipped", str(reason))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and that is a failure too
        message = isinstance(error, AssertionError | InputError) and exception_message(error)
        return Outcome(name, check.__name__, "failed", message or exception_summary(error), full_traceback(error))
    return Outcome(name, check.__name__, "passed")
