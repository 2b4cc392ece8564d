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


def check(folder: Path, lock: Mapping[str, Any], now: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    """Return lines on what cannot be compared. Raises InputError where results come from other source than `now`.

    now: {component: hash of its source}; files: where each lies.
    """
    changed, silent = changes(folder, now, Names.read(lock))
    if changed:
        raise refusal(folder, changed, lock, {provenance.FRAMEWORK: provenance.home(), **files})
    if not silent and lock.get("hashes") == provenance.SCHEME:
        return []
    return [
        f"{folder} was begun by an ablate that hashed source otherwise, so it cannot be compared with today's: "
        f"whether its {silent} results come from the same source is not known"
    ]


def changes(folder: Path, now: Mapping[str, str], names: Names | None = None) -> tuple[list[SourceChange], int]:
    """Return what was measured with other source than `now` {component: hash}, and how many results have no hashes.

    A component that is not in `now` is not compared.
    """
    by_component: dict[tuple[str, str], SourceChange] = {}
    silent = 0
    for name, result in _results(folder, names or Names()):
        if result.get("hashes") != provenance.SCHEME or not isinstance(result.get("sources"), Mapping):
            silent += 1
            continue
        version = result.get("versions", {}).get(provenance.FRAMEWORK)
        for component, then in result["sources"].items():
            if component in now and now[component] != then:
                new = SourceChange(component, then, now[component], version)
                change = by_component.setdefault((component, then), new)
                if name not in change.trials:
                    change.trials.append(name)
    return list(by_component.values()), silent


def refusal(folder: Path, changed: list[SourceChange], lock: Mapping[str, Any], files: Mapping[str, str]) -> InputError:
    """Return the error: what changed, since when, and which trials were measured with it. files: of each source."""
    lines = []
    here = importlib.metadata.version(provenance.FRAMEWORK)
    for change in changed:
        entry = lock["plugins"].get(change.component, {})
        same = entry.get("source_hash") == change.then
        since = f" since {_date(entry['since'])}" if same and "since" in entry else ""
        release = change.component == provenance.FRAMEWORK and change.version != here
        before, after = (f"{change.version}, ", f"{here}, ") if release else ("", "")
        hashes = f"{before}{short(change.then)}{since} -> {after}{short(change.now)}"
        lines.append(f"  {change.component}: {hashes}, {files[change.component]}")
        if release:
            lines.append(f"    to go on in this folder: pip install 'ablate=={change.version}'")
        more = len(change.trials) - NAMED
        trials = [*change.trials[:NAMED], *([f"and {more} more"] if more > 0 else [])]
        lines.append(f"    measured with it: {'; '.join(trials)}")
        if same and (copy := lock.get("kept", {}).get(change.component)):
            lines.append(f"    that source is kept in {folder / copy}")
    changes_text = "\n".join(lines)
    return InputError(
        f"was begun with other source code, and complete trials stand on it (then -> now):\n{changes_text}\n"
        "restore that source, or give another folder with --out",
        str(folder),
    )


def _date(iso: str) -> str:
    return iso[:16].replace("T", " ") + " UTC"


def _results(folder: Path, names: Names) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every result with its trial's name: records, and what `ablate evaluate` measured."""
    for trial in records.recorded(folder):
        record = records.read_valid(trial)
        if record is None or "replayed" in record:  # it tells with what the table was recorded, which is asked again
            continue
        name = names.trial(record)
        yield name, record
        for file in records.measured(trial):
            with contextlib.suppress(FileNotFoundError, DamagedError):  # which do not count
                yield f"{name}, measured again", read_sealed(file)
