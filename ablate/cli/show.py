"""`ablate show`: what was done in a study's folder: the study as it was run, by which commands, with which source."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.cli.options import Json, Readable
from ablate.io import launches
from ablate.io.columns import Column, layout

if TYPE_CHECKING:
    from ablate.results import Results

WIDTH = 80


def show(folder: Readable, as_json: Json = False) -> None:
    """Say what was done in a study's folder: the study, its launches, the source of its components."""
    from ablate.cli.outcome import complain
    from ablate.cli.terminal import columns_of, emit_json
    from ablate.io.text import printable
    from ablate.results import load

    results = load(folder)
    if as_json:
        emit_json(history_of(results))
    else:
        print("\n".join(printable(line) for line in _lines(results, columns_of(sys.stdout))))
    for warning in results.warnings:
        complain(f"warning: {warning}")


def history_of(results: Results) -> dict[str, Any]:
    """Return everything that `ablate show` prints, as plain data."""
    return {
        "name": results.name,
        "folder": str(results.path),
        "study": results.study,
        "launches": results.launches,
        "versions": results.lock.get("versions", {}),
        "sources": results.lock.get("plugins", {}),
        "kept": results.lock.get("kept", {}),
    }


def _lines(results: Results, width: int | None = None) -> Iterator[str]:
    """Yield the lines of the text; width: of the terminal, where there is one."""
    wrap = WIDTH if width is None else min(WIDTH, width)
    of = history_of(results)
    title = of["name"] if not (question := of["study"].get("question")) else f"{of['name']}: {question}"
    yield from textwrap.wrap(title, width, break_on_hyphens=False) if width is not None else [title]
    yield of["folder"]
    yield from ("", "the study as it was run")
    try:
        text = (results.path / "study.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = "(there is no study.yaml)"
    yield from (f"  {line}" for line in text.splitlines() if not line.startswith("# What was run"))
    yield from ("", "launches")
    for launch in of["launches"]:
        yield from _launch(launch, wrap)
    if not of["launches"]:
        yield "  (none is known: the folder was made by an ablate that kept no log of them)"
    yield from ("", "source")
    rows = [
        (
            name,
            one.get("version", ""),
            one.get("source_hash", "")[:12],
            launches.date(one.get("since")).removesuffix(" UTC"),
        )
        for name, one in sorted(of["sources"].items())
    ]
    heads = ("component", "version", "hash", "since (UTC)")
    columns = [Column(head, tuple(row[i] for row in rows), name=i == 0) for i, head in enumerate(heads)]
    yield from (f"  {line.text}".rstrip() for line in layout(columns, None if width is None else width - 2, rule=False))
    places: dict[str, list[str]] = {}
    for name, place in of["kept"].items():
        if not Path(name).is_relative_to(results.path.absolute()):
            places.setdefault(place, []).append(name)
    if places:
        yield from ("", "local source, as it is kept here")
    for place, users in sorted(places.items()):
        yield f"  {place}"
        yield from textwrap.wrap(", ".join(users), wrap, initial_indent="    ", subsequent_indent="    ")


def _launch(launch: Mapping[str, Any], width: int) -> Iterator[str]:
    where, command, versions = launches.format_launch(launch)
    yield from textwrap.wrap(where, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    yield from textwrap.wrap(
        command,
        width,
        initial_indent="    ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from textwrap.wrap(versions, width, initial_indent="    ", subsequent_indent="    ")
