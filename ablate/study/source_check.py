"""Check that the source code of today is the one with which complete trials of a folder were measured.

Refused is no more than needed: what no complete trial has used may change. A trial that diverged is complete here,
as it is a result too.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.candidates.names import Names
from ablate.discovery import provenance
from ablate.errors import InputError
from ablate.io.sealed import DamagedError, read_sealed
from ablate.worker import records
from ablate.worker.sources import short

NAMED = 3  # trials that a message names; the others it counts


@dataclass(frozen=True)
class SourceChange:
    """A component whose source changed since complete trials were measured with it."""

    component: str
    then: str
    now: str
    version: str | None = None  # of ablate, by which it was measured
    trials: list[str] = field(default_factory=list)


def check(folder: Path, held: Mapping[str, Any], now: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    """Lines on what cannot be compared. Raises InputError where results stand on other source than `now`.

    held: the lock; now: {component: hash of its source}; files: where each lies.
    """
    changed, silent = changes(folder, now, Names.read(held))
    if changed:
        raise refusal(folder, changed, held, {provenance.FRAMEWORK: provenance.home(), **files})
    if not silent and held.get("hashes") == provenance.SCHEME:
        return []
    return [
        f"{folder} was begun by an ablate that hashed source otherwise, so it cannot be compared with today's: "
        f"whether its {silent} results come from the same source is not known"
    ]


def changes(folder: Path, now: Mapping[str, str], names: Names | None = None) -> tuple[list[SourceChange], int]:
    """What was measured with another source than `now` {component: hash}, and how many results do not say.

    A component that is not in `now` is not asked about.
    """
    found: dict[tuple[str, str], SourceChange] = {}
    silent = 0
    for who, held in _results(folder, names or Names()):
        if held.get("hashes") != provenance.SCHEME or not isinstance(held.get("sources"), Mapping):
            silent += 1
            continue
        version = held.get("versions", {}).get(provenance.FRAMEWORK)
        for component, then in held["sources"].items():
            if component in now and now[component] != then:
                one = found.setdefault((component, then), SourceChange(component, then, now[component], version))
                if who not in one.trials:
                    one.trials.append(who)
    return list(found.values()), silent


def refusal(folder: Path, changed: list[SourceChange], held: Mapping[str, Any], files: Mapping[str, str]) -> InputError:
    """What changed, since when, and what stands on it. held: the lock; files: where each source lies."""
    lines = []
    here = importlib.metadata.version(provenance.FRAMEWORK)
    for one in changed:
        known = held["plugins"].get(one.component, {})
        since = f" since {_date(known['since'])}" if known.get("source_hash") == one.then and "since" in known else ""
        release = one.component == provenance.FRAMEWORK and one.version != here
        before, after = (f"{one.version}, ", f"{here}, ") if release else ("", "")
        told = f"{before}{short(one.then)}{since} -> {after}{short(one.now)}"
        lines.append(f"  {one.component}: {told}, {files[one.component]}")
        if release:
            lines.append(f"    to go on in this folder: pip install 'ablate=={one.version}'")
        more = len(one.trials) - NAMED
        stand = [*one.trials[:NAMED], *([f"and {more} more"] if more > 0 else [])]
        lines.append(f"    measured with it: {'; '.join(stand)}")
        if known.get("source_hash") == one.then and (kept := held.get("kept", {}).get(one.component)):
            lines.append(f"    that source is kept in {folder / kept}")
    told = "\n".join(lines)
    return InputError(
        f"was begun with other source code, and complete trials stand on it (then -> now):\n{told}\n"
        "restore that source, or give another folder with --out",
        str(folder),
    )


def _date(said: str) -> str:
    return said[:16].replace("T", " ") + " UTC"


def _results(folder: Path, names: Names) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every result with whose it is: records, and what `ablate evaluate` measured."""
    for trial in sorted(folder.glob("trials/*/record.json")):
        record = records.whole(trial.parent)
        if record is None:
            continue
        who = names.trial(record)
        yield who, record
        for file in records.measured(trial.parent):
            with contextlib.suppress(FileNotFoundError, DamagedError):  # which do not count
                yield f"{who}, measured again", read_sealed(file)
