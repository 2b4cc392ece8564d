"""`ablate report`: the figures and one page that shows everything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import Folder
from ablate.cli.outcome import complain


def report(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the page goes; report.html in DIR by default.")
    ] = None,
) -> None:
    """Draw the figures, and write report.html.

    One page that needs nothing else: table, verdict, figures, every trial.
    """
    from ablate.cli.terminal import echo
    from ablate.results import load
    from ablate.results.report import report as write

    results = load(folder)
    drawn = results.figures(say=complain)
    for path in (write(results, out), *drawn):
        echo(path)
