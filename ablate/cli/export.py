"""`ablate export`: the study's table for programs and for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import Folder

SUFFIXES = {"csv": "csv", "latex": "tex", "markdown": "md"}


def export(
    folder: Folder,
    format_: Annotated[str, typer.Option("--format", metavar="csv|latex|markdown|all", help="What to write.")] = "all",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to write into; tables/ in DIR by default.")
    ] = None,
) -> None:
    """Write the table as CSV, LaTeX, markdown.

    Seeds are grouped to mean ± standard deviation; the CSV holds plain numbers.
    """
    from ablate.cli.terminal import echo
    from ablate.errors import InputError, did_you_mean
    from ablate.results import load
    from ablate.results.export import export as write

    formats = [*SUFFIXES, "all"]
    if format_ not in formats:
        raise InputError(f"there is no format {format_!r}{did_you_mean(format_, formats)}", "--format")
    suffixes = list(SUFFIXES.values()) if format_ == "all" else [SUFFIXES[format_]]
    for path in write(load(folder), out, suffixes):
        echo(path)
