"""`ablate plugins check`: whether a plugin is what its kind asks for."""

from __future__ import annotations

import contextlib
import faulthandler
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.options import Json, PluginFiles
from ablate.cli.outcome import SOME_FAILED

if TYPE_CHECKING:
    from ablate.testing import Outcome


def check(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A .py file, a plugin's folder, a distribution, a module, or KIND/NAME."),
    ],
    as_json: Json = False,
    plugin: PluginFiles = None,
) -> None:
    """Run every check of its kind on every component of a plugin; exit code 1 if one fails."""
    from ablate.cli.terminal import echo, emit_json, table
    from ablate.testing import Outcome, examine, find

    components = find(target, tuple(plugin or ()))
    with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):  # no stderr, or a notebook's
        faulthandler.enable()  # of what ends the process from below, at least the line is told
    outcomes = [Outcome(one.plugin, "loads", "failed", one.reason, one.traceback) for one in components.broken]
    for entry in components.entries:
        outcomes += examine(entry, components.catalog)
    failed = any(one.state == "failed" for one in outcomes)
    if as_json:
        tracebacks = [one.traceback for one in components.broken]
        emit_json({"passed": not failed, "checks": [asdict(one) for one in outcomes], "tracebacks": tracebacks})
    else:
        rows = list(_rows(outcomes))
        table(("component", "check", "", "why"), rows, wrap="why")
        count = Counter(one.state for one in outcomes)
        print("\n" + ", ".join(f"{count[state]} {state}" for state in ("passed", "failed", "skipped") if count[state]))
        for one in components.broken:
            echo(f"\n{one.module} could not be loaded\n{one.traceback.rstrip()}")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each check; one reason is written once, however many checks of a component it fails."""
    first_checks: dict[tuple[str, str], str] = {}
    for one in outcomes:
        first = first_checks.setdefault((one.component, one.reason), one.check) if one.state == "failed" else one.check
        yield one.component, one.check, one.state, one.reason if first == one.check else f"as {first}"
