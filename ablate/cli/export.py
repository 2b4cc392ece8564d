"""`ablate export`: the study's table for programs and for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import Readable

SUFFIXES = {"csv": "csv", "latex": "tex", "markdown": "md"}
TO = ("csv", "parquet", "markdown", "latex", "html")


def export(
    folder: Readable,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="|".join(TO), help="Write candidates.<format>; may be given several times."),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|latex|markdown|all", help="Write table.<format>, with deviations."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to write into; tables/ in DIR by default.")
    ] = None,
) -> None:
    """Write the table as CSV, parquet, markdown, LaTeX, HTML.

    --to: mean ± half of the 95 % interval, the best in bold with all that the study's test does not tell from it, and a
    caption that says how each metric was taken. --format, and without either: mean ± standard deviation.
    """
    from ablate.cli.terminal import echo
    from ablate.errors import InputError, did_you_mean
    from ablate.io.files import fit_for_a_folder
    from ablate.results import load
    from ablate.results.export import export as write
    from ablate.results.paper_formats import write_table

    if to and format_:
        raise InputError("write --to or --format, not both: they are two tables", "--format")
    if wrong := [name for name in to or () if name not in TO]:
        raise InputError(f"there is no format {wrong[0]!r}{did_you_mean(wrong[0], TO)}", "--to")
    formats = [*SUFFIXES, "all"]
    if format_ is not None and format_ not in formats:
        raise InputError(f"there is no format {format_!r}{did_you_mean(format_, formats)}", "--format")
    if out is not None:
        fit_for_a_folder(out, "--out")
    results = load(folder)
    if to:
        for name in dict.fromkeys(to):
            echo(write_table(results, name, out))
        return
    suffixes = list(SUFFIXES.values()) if format_ in (None, "all") else [SUFFIXES[str(format_)]]
    for path in write(results, out, suffixes):
        echo(path)
