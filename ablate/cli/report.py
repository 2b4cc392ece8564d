"""`ablate report`: the figures and one page that shows everything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import Readable
from ablate.cli.outcome import complain


def report(
    folder: Readable,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the page goes; report.html in DIR by default.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Also draw the figures/ of DIR, for papers and slides.")
    ] = True,
) -> None:
    """Draw the figures, and write report.html.

    One page that needs nothing else: verdict, charts to point at, samples, tables, how to run it again.
    """
    from ablate.cli.terminal import echo
    from ablate.io.files import fit_for_a_file
    from ablate.results import load
    from ablate.results.report import report as write

    if out is not None:
        fit_for_a_file(out, "--out")  # before the figures are drawn
    results = load(folder)
    drawn = results.figures(say=complain) if pictures else None
    for path in (write(results, out, drawn), *(drawn or ())):
        echo(path)
