"""`ablate plugins search`: plugins that others have published."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.options import Json
from ablate.cli.outcome import complain

if TYPE_CHECKING:
    from ablate.discovery.directory import Directory, Listed


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORDS]", help="In its name, its summary or what it brings; all of them."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--list", metavar="URL|FILE", help="Fetch this list first, and keep it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search the directory of plugins: version, kinds, API version, and whether it passed the conformance checks.

    The list is that of this ablate, or a newer one that was fetched with --list; nothing else is asked of any network.
    """
    from ablate.cli.terminal import emit_json
    from ablate.discovery.directory import fetch, stored

    try:
        found = stored() if address is None else fetch(address)
    except OSError as error:
        found = stored()
        reason = getattr(error, "reason", None) or error
        complain(f"warning: {address} cannot be reached ({reason}); this is what is here")
    plugins = [one for one in found.plugins if one.has(words or ())]
    if as_json:
        rows = [{**_as_json(one), "installed": one.installed, "refused": one.refusal} for one in plugins]
        emit_json({"made": found.made, "from": found.source, "file": found.place, "plugins": rows})
    else:
        _print(found, plugins, words or [])


def _as_json(one: Listed) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(one)


def _print(found: Directory, plugins: list[Listed], words: list[str]) -> None:
    from ablate.cli.terminal import echo, table

    if plugins:
        columns = ("plugin", "version", "brings", "API", "conformance", "here", "what it is")
        table(columns, [_row(one) for one in plugins], wrap="what it is")
        for one in plugins:
            if one.refusal is not None:
                echo(f"{one.name} {one.refusal}")
        echo("")
        for one in plugins:
            if one.installed is None:
                echo(f"{one.name}: {one.install}")
    else:
        known = [text for one in found.plugins for text in (one.name, *one.components, *one.kinds)]
        near = [match for word in words for match in difflib.get_close_matches(word, known, n=1)]
        hint = f"; did you mean {near[0]}?" if near else ""
        echo(
            f"none of {len(found.plugins)} plugins has {' and '.join(map(repr, words))}{hint}"
            if words
            else "no plugins"
        )
    echo(f"list of {found.made}, from {found.source}: {found.place}")


def _row(one: Listed) -> tuple[str, ...]:
    brings = [f"kind {kind}" for kind in one.kinds] + list(one.components)
    conformance = one.conformance["status"]
    if conformance == "failed":
        conformance += f" ({one.conformance.get('failed')})"
    version = "–" if one.api_version is None else str(one.api_version)
    return one.name, one.version, ", ".join(brings), version, conformance, one.installed or "–", one.summary
