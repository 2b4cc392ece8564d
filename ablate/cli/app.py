"""All commands by name. Each is a file; none imports more than typer before it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from ablate import __version__
from ablate.cli import (
    compare,
    dashboard,
    data,
    doctor,
    evaluate,
    export,
    metrics,
    plan,
    plugins,
    profile,
    proxies,
    report,
    run,
    schema,
    show,
    status,
    watch,
    worker,
)
from ablate.cli.outcome import Command, Commands

# Help without rich: it reads as well, and it is there before rich would be imported.
app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Which design choice of a diffusion model matters, and what does it cost?",
    epilog="Begin with: ablate doctor, ablate plan STUDY, ablate run STUDY",
)
COMMANDS: tuple[Callable[..., None], ...] = (
    run.run,
    worker.worker,
    plan.plan,
    profile.profile,
    proxies.proxies,
    status.status,
    show.show,
    report.report,
    watch.watch,
    export.export,
    compare.compare,
    evaluate.evaluate,
    metrics.metrics,
    dashboard.dashboard,
    doctor.doctor,
    schema.schema,
)
for command in COMMANDS:
    app.command(cls=Command)(command)
app.add_typer(plugins.app, name="plugins")
app.add_typer(data.app, name="data")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ablate {__version__}")
        raise typer.Exit


@app.callback()
def _ablate(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Which design choice of a diffusion model matters, and what does it cost?"""
