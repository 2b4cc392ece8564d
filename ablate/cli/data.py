"""`ablate data inspect`: what a set of pictures holds, before a study is run on it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.options import Json
from ablate.cli.outcome import Command

if TYPE_CHECKING:
    from ablate.pictures import Pictures

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

SHOWN = 40  # pictures of the contact sheet
CLASSES_TOLD = 20


@app.callback()
def data() -> None:
    """Look at data of yours: ablate data inspect PATH."""


@app.command(cls=Command)
def inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of pictures, a .zip, an .npz or an .npy.")],
    labels: Annotated[
        str, typer.Option(metavar="file|folders|none", help="Where classes come from: dataset.json, or sub-folders.")
    ] = "file",
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", min=4, max=4096, help="Bring all to a square of this side.")
    ] = None,
    colour: Annotated[str, typer.Option(metavar="as_is|grey|rgb", help="Bring all to one colour.")] = "as_is",
    limit: Annotated[int | None, typer.Option(metavar="N", min=2, max=10**9, help="Look at so many at most.")] = None,
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="Leave out what cannot be decoded.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The contact sheet; NAME.sheet.png here by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every picture; tell how many, their size, classes, hash and copies, and draw a contact sheet.

    The hash is of the pixels and labels alone: the same pictures have it in a folder, a zip or an npz,
    whatever they are called.
    """
    from typing import cast, get_args

    from ablate.cli.terminal import emit_json
    from ablate.errors import InputError, did_you_mean
    from ablate.io.files import fit_for_a_file
    from ablate.pictures import Colour, Labelling, open_pictures

    for option, value, kind in (("--labels", labels, Labelling), ("--colour", colour, Colour)):
        if value not in get_args(kind):
            raise InputError(f"there is no {value!r}{did_you_mean(value, get_args(kind))}", option)
    if sheet is not None:
        fit_for_a_file(sheet, "--sheet")  # before all pictures are read
    pictures = open_pictures(
        path,
        size=size,
        colour=cast(Colour, colour),
        labels=cast(Labelling, labels),
        limit=limit,
        skip_corrupt=skip_corrupt,
    )
    facts = _look(pictures, sheet or Path(f"{Path(path).resolve().stem}.sheet.png"))
    if as_json:
        emit_json(facts)
    else:
        _print(facts)


def _look(pictures: Pictures, sheet: Path) -> dict[str, Any]:
    """Read all pictures, write the contact sheet, and return the facts; the sheet comes last, when nothing is wrong."""
    import io

    import numpy as np

    from ablate.evaluation.preview import contact_sheet
    from ablate.io.files import write_atomic

    hashes: list[bytes] = []
    labelled: list[bytes] = []
    samples, counts = [], np.zeros(pictures.classes or 0, dtype=np.int64)
    sampled = {i * len(pictures) // SHOWN for i in range(SHOWN)}
    for images, labels in pictures.batches():
        samples += [images[i] for i in range(len(images)) if len(hashes) + i in sampled]
        new = [hashlib.sha256(image.tobytes()).digest() for image in images]
        hashes += new
        if labels is not None:
            counts += np.bincount(labels, minlength=len(counts))
            new = [one + int(label).to_bytes(8, "little") for one, label in zip(new, labels, strict=True)]
        labelled += new
    channels, height, width = images.shape[1:]
    picture = io.BytesIO()
    contact_sheet(np.stack(samples)).save(picture, "PNG")
    write_atomic(sheet, picture.getvalue())
    names = pictures.source.classes or tuple(map(str, range(len(counts))))
    shape = f"{channels}×{height}×{width}".encode()
    return {
        "path": str(pictures.source.path),
        "count": len(hashes),
        "channels": channels,
        "height": height,
        "width": width,
        "classes": pictures.classes,
        "images_per_class": None
        if pictures.classes is None
        else {n: int(c) for n, c in zip(names, counts, strict=True)},
        "columns": {name: "text" if kind is str else "number" for name, kind in pictures.columns().items()},
        "copies": len(hashes) - len(set(hashes)),
        "skipped": pictures.skipped,
        "notes": [*pictures.source.notes, *(f"{n} of the pictures {word}" for word, n in pictures.remarks.items())],
        "hash": hashlib.sha256(shape + b"".join(sorted(labelled))).hexdigest(),
        "sheet": str(sheet),
    }


def _print(facts: dict[str, Any]) -> None:
    from ablate.cli.terminal import table

    colour = "grey" if facts["channels"] == 1 else "colour"
    rows = [
        ("pictures", str(facts["count"])),
        ("size", f"{facts['width']}×{facts['height']}, {colour}"),
        ("classes", _classes(facts["images_per_class"])),
        ("columns", ", ".join(f"{name} ({kind})" for name, kind in facts["columns"].items())),
        ("copies", f"{facts['copies']}" if facts["copies"] else "none: every picture is there once"),
        ("hash", facts["hash"]),
        ("sheet", facts["sheet"]),
    ]
    if facts["skipped"]:
        listed = ", ".join(f"{name} ({why})" for name, why in list(facts["skipped"].items())[:CLASSES_TOLD])
        rows.insert(1, ("left out", f"{len(facts['skipped'])}: {listed}"))
    rows += [("note", note) for note in facts["notes"]]
    table(("what", ""), rows, wrap="")


def _classes(counts: dict[str, int] | None) -> str:
    if counts is None:
        return "no labels"
    listed = ", ".join(f"{name}: {n}" for name, n in list(counts.items())[:CLASSES_TOLD])
    more = f", and {len(counts) - CLASSES_TOLD} more" if len(counts) > CLASSES_TOLD else ""
    return f"{len(counts)} ({listed}{more})"
