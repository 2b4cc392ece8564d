"""`ablate doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the examination."""

    part: str
    well: bool | None  # None: a fact, neither good nor bad
    text: str


def doctor() -> None:
    """Show what works here, and what to do.

    Versions, devices, plugins, data, weights, cache. Something missing is no error: it may not be needed.
    """
    from ablate.cli.terminal import table

    marks = {True: "ok", False: "missing", None: ""}
    findings = list(examine())
    table(
        ("part", "state", "what was found"), [(f.part, marks[f.well], f.text) for f in findings], wrap="what was found"
    )
    missing = [f.part for f in findings if f.well is False]
    print(f"\nmissing: {', '.join(missing)}; the lines above say what to do" if missing else "\nall of this works here")


def examine() -> Iterator[Finding]:
    """Every finding, in order; nothing of what is examined can end the examination."""
    from ablate.cli import examination

    for part in (
        examination.versions,
        examination.devices,
        examination.machine,
        examination.plugins,
        examination.data,
        examination.features,
        examination.executors,
        examination.cache,
    ):
        yield from (Finding(*found) for found in part())
