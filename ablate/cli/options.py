"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, such as studies/dit_conditioning.yaml.")]


def _readable(text: str) -> Path:
    """Return the folder to read; of a URL a copy of what is new there."""
    from ablate.runtime.stored import readable

    return readable(text)


def _here(text: str) -> Path:
    """Return a folder of this machine. Raises InputError for the URL of a store."""
    from ablate.errors import InputError
    from ablate.io.stores import is_url

    if is_url(text):
        raise InputError(f"is in a store, and this needs a folder of this machine: aws s3 sync {text} DIR", text)
    return Path(text)


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", parser=_here, help="A study's folder, such as results/dit_conditioning.")
]
Readable = Annotated[
    Path,
    typer.Argument(
        metavar="DIR|URL",
        parser=_readable,
        help="A study's folder, such as results/dit_conditioning, or its URL: s3://bucket/folder.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Put a value into the study, as in budget.images=50_000. Repeatable."
    ),
]
PluginFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="A .py file, a package, path:FOLDER or git+URL@REVISION, with components of yours. Repeatable.",
    ),
]
Profile = Annotated[
    str | None, typer.Option(metavar="NAME", help="One of the study's own `profiles`: the same at another scale.")
]
Device = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda|mps", help="What to run on; auto takes a GPU where there is one.")
]
Figures = Annotated[
    bool, typer.Option("--figures/--no-figures", help="Draw the figures at the end; `ablate report` can do it later.")
]
Json = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on stdout.")]
