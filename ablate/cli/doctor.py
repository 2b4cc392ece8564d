"""`ablate doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the examination."""

    part: str
    well: bool | str | None  # None: a fact, neither good nor bad; "not here": works once it was downloaded
    text: str


def doctor() -> None:
    """Show what works here, and what to do.

    Versions, devices, plugins, data, weights, cache. Something missing is no error: it may not be needed.
    """
    from ablate.cli.terminal import echo, table

    marks = {True: "ok", False: "missing", None: "", "not here": "not here"}
    findings = list(examine())
    table(
        ("part", "state", "what was found"), [(f.part, marks[f.well], f.text) for f in findings], wrap="what was found"
    )
    missing = [f.part for f in findings if f.well is False]
    away = [f.part for f in findings if f.well == "not here"]
    lines = [f"missing: {', '.join(missing)}; the lines above say what to do"] if missing else []
    lines += [f"not here: {', '.join(away)}; fetched when first used, where the network can be reached"] if away else []
    echo("\n" + "\n".join(lines or ["all of this works here"]))


def examine() -> Iterator[Finding]:
    """Yield every finding, in order; nothing of what is examined can end the examination."""
    from ablate.cli import examination

    for part in (
        examination.versions,
        examination.devices,
        examination.machine,
        examination.plugins,
        examination.data,
        examination.features,
        examination.autoencoders,
        examination.executors,
        examination.cache,
    ):
        yield from (Finding(*finding) for finding in part())
