"""`ablate plugins check`: whether a plugin is what its kind asks for."""

from __future__ import annotations

import contextlib
import faulthandler
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.options import Json, PluginFiles
from ablate.cli.outcome import SOME_FAILED

if TYPE_CHECKING:
    from ablate.testing import Outcome

Broken = tuple[str, str, str, str]  # plugin, module, reason, traceback


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A .py file, path:FOLDER, git+URL@REVISION, a distribution, a module, or KIND/NAME."
        ),
    ],
    as_json: Json = False,
    plugin: PluginFiles = None,
    seconds: Annotated[
        float,
        typer.Option("--time-limit", metavar="SECONDS", help="Of loading and of each check: who hangs is named."),
    ] = 180.0,
    memory: Annotated[
        float, typer.Option("--memory-limit", metavar="GIB", help="Of the process in which the checks run.")
    ] = 8.0,
    here: Annotated[
        bool, typer.Option("--here", help="Run the checks in this process: for a debugger. Nothing is limited then.")
    ] = False,
) -> None:
    """Run every check of its kind on every component of a plugin; exit code 1 if one fails.

    They run in a process of their own: a plugin that hangs, ends the process, takes too much memory, prints or changes
    global state is named, with its line, and the checks behind it go on.
    """
    from ablate.cli.terminal import echo, emit_json, table
    from ablate.testing import Outcome

    found, broken = (_here if here else _apart)(target, tuple(plugin or ()), seconds, memory)
    outcomes = [Outcome(one[0], "loads", "failed", one[2], one[3]) for one in broken] + found
    failed = any(one.state == "failed" for one in outcomes)
    if as_json:
        tracebacks = [one[3] for one in broken]
        emit_json({"passed": not failed, "checks": [asdict(one) for one in outcomes], "tracebacks": tracebacks})
    else:
        rows = list(_rows(outcomes))
        table(("component", "check", "", "why"), rows, wrap="why")
        count = Counter(one.state for one in outcomes)
        print("\n" + ", ".join(f"{count[state]} {state}" for state in ("passed", "failed", "skipped") if count[state]))
        for one in broken:
            echo(f"\n{one[1]} could not be loaded\n{one[3].rstrip()}")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _apart(
    target: str, plugins: Sequence[str], seconds: float, memory: float
) -> tuple[list[Outcome], Iterable[Broken]]:
    from ablate.testing.apart import Apart, examine_apart

    known = Apart()
    return list(examine_apart(target, plugins, seconds, memory, known)), known.broken


def _here(target: str, plugins: tuple[str, ...], _: float, __: float) -> tuple[list[Outcome], Iterable[Broken]]:
    from ablate.testing import examine, find

    components = find(target, plugins)
    with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):  # no stderr, or a notebook's
        faulthandler.enable()  # of what ends the process from below, at least the line is told
    broken = [(one.plugin, one.module, one.reason, one.traceback) for one in components.broken]
    return [one for entry in components.entries for one in examine(entry, components.catalog)], broken


def _rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each check; one reason is written once, however many checks of a component it fails."""
    first_checks: dict[tuple[str, str], str] = {}
    for one in outcomes:
        first = first_checks.setdefault((one.component, one.reason), one.check) if one.state == "failed" else one.check
        yield one.component, one.check, one.state, one.reason if first == one.check else f"as {first}"
