"""`ablate watch`: the page of a study, or of several, in a browser while they run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer


def watch(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Studies' folders, such as results/dit_conditioning.")
    ],
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help="The port; by default the first free one from 8090."),
    ] = None,
) -> None:
    """Show studies in a browser while they run, until Ctrl-C: the page of `ablate report`, which follows them.

    Curves and samples of trials at work come as they are written; what was pinned, sorted, filtered or zoomed stays.
    Several studies stand side by side. It listens at this machine alone (127.0.0.1), only reads, and answers only to
    the address that it prints, which holds a token; over SSH, forward the port: ssh -L 8090:127.0.0.1:8090 HOST.
    """
    from ablate.cli.terminal import echo
    from ablate.errors import InputError
    from ablate.results import load
    from ablate.results.live.server import Server

    unique = list(dict.fromkeys(folder.resolve() for folder in folders))
    for folder in unique:
        load(folder)  # what is no study is told now
    try:
        server = Server(unique, port)
    except OSError as error:
        raise InputError(f"cannot listen: {error.strerror or error}; choose another --port") from None
    try:
        shown = str(folders[0]) if len(unique) == 1 else f"{len(unique)} studies"
        with contextlib.suppress(KeyboardInterrupt):
            echo(f"{server.address} shows {shown}; Ctrl-C ends it")
            server.serve_forever(poll_interval=0.2)
        echo("watched no longer; the studies themselves go on")
    finally:
        server.server_close()
