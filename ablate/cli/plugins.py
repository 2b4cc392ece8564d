"""`ablate plugins`: which components there are, where each comes from, and what could not be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli import check, directory, new
from ablate.cli.options import Json, PluginFiles
from ablate.cli.outcome import Command, complain
from ablate.runtime.stdout import reserve_stdout

if TYPE_CHECKING:
    from ablate.discovery.catalog import Broken, Catalog, Entry

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.command(cls=Command)(check.check)
app.command(cls=Command)(new.new)
app.command(cls=Command)(directory.search)


@app.callback(invoke_without_command=True)
def plugins(ctx: typer.Context, as_json: Json = False, plugin: PluginFiles = None) -> None:
    """List components, or show one: ablate plugins show fusion/gated."""
    if ctx.invoked_subcommand is None:
        with reserve_stdout() if as_json else nullcontext():
            _list(as_json, plugin or ())


@app.command("list", cls=Command)
def list_(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Only this kind, such as fusion.")] = None,
    as_json: Json = False,
    plugin: PluginFiles = None,
) -> None:
    """List every component by kind, and every plugin that could not be loaded."""
    _list(as_json, plugin or (), kind)


@app.command(cls=Command)
def show(
    what: Annotated[str, typer.Argument(metavar="KIND/NAME", help="A component, such as fusion/gated; or a kind.")],
    as_json: Json = False,
    plugin: PluginFiles = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw a schedule, levels or a weighting beside all others of its kind.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where --plot writes: a .png, .svg or .pdf file.")
    ] = None,
) -> None:
    """Show a component: what it does, its fields, what it needs, and where its source is."""
    from ablate.cli.describe import as_text, describe
    from ablate.cli.terminal import echo, emit_json
    from ablate.discovery.catalog import catalog

    components = catalog(tuple(plugin or ()))
    for one in components.broken:
        complain(f"plugin {one.plugin} could not be loaded: {one.reason}")
    kind, _, name = what.partition("/")
    if plot or out is not None:
        from ablate.cli.picture import picture

        components.kind(kind)
        echo(picture(kind, name or None, out, components))
        return
    if not name:
        components.kind(kind)  # raises, with the nearest name
        if as_json:
            emit_json([_row(entry, components) for entry in components.entries(kind)])
        else:
            _show_kind(kind, components)
        return
    description = describe(components.entry(kind, name), components)
    if as_json:
        emit_json(description)
    else:
        echo(as_text(description))


def _list(as_json: bool, plugin: Sequence[str], kind: str | None = None) -> None:
    from ablate.cli.terminal import echo, emit_json, table
    from ablate.discovery.catalog import catalog

    components = catalog(tuple(plugin))
    entries = sorted(components.entries(kind), key=lambda e: (e.kind, e.name, e.distribution))
    rows = [_row(entry, components) for entry in entries]
    if as_json:
        emit_json({"components": rows, "broken": [_broken(one) for one in components.broken]})
        return
    columns = ("kind", "name", "from", "what it is")
    cells = [
        (r["kind"], r["name"] + (" *" if r["default"] else ""), f"{r['distribution']} {r['version']}", r["summary"])
        for r in rows
    ]
    table(columns, cells, wrap="what it is")
    if any(r["default"] for r in rows):
        print("*: fills the place of its kind where a study says nothing")
    for outdated in components.outdated:
        echo(f"\n{outdated}")
    for one in components.broken:
        echo(f"\nbroken: {one.module} of plugin {one.plugin} could not be loaded\n{one.traceback.rstrip()}")


def _show_kind(kind: str, catalog: Catalog) -> None:
    from ablate.cli import interface
    from ablate.cli.describe import summary
    from ablate.cli.terminal import echo, table

    echo(f"{kind}: {summary(catalog.kind(kind))}\n")
    table(
        ("name", "what it is"), [(f"{kind}/{e.name}", summary(e.cls)) for e in catalog.entries(kind)], wrap="what it is"
    )
    for line in ("", *interface.as_text(catalog.kind(kind)).splitlines()):
        echo(line)


def _row(entry: Entry, catalog: Catalog) -> dict[str, Any]:
    from ablate.cli.describe import summary

    return {
        "kind": entry.kind,
        "name": entry.name if entry.name in catalog.names(entry.kind) else entry.full_name,
        "distribution": entry.distribution,
        "version": entry.version,
        "file": str(entry.file),
        "line": entry.line,
        "default": catalog.default(entry.kind) == entry.full_name,
        "summary": summary(entry.cls),
    }


def _broken(one: Broken) -> dict[str, str]:
    return {"plugin": one.plugin, "module": one.module, "reason": one.reason, "traceback": one.traceback}
