"""Which source and which version of ablate the trials of one table come from, and what that means for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ablate.discovery.provenance import FRAMEWORK, SCHEME, SHOWN
from ablate.errors import InputError
from ablate.io.text import label

if TYPE_CHECKING:
    import pandas as pd

COUNTED = ("complete", "diverged")  # trials that are a result
NAMED = 3  # trials of a kind that a message names


def told(trials: pd.DataFrame) -> list[str]:
    """One line for each thing of which trials of one table had two: versions of ablate, its source, a component's."""
    versions = _by(trials, "versions", lambda held: {FRAMEWORK: held.get(FRAMEWORK)})
    lines = [
        f"trials of {len(found)} versions of ablate stand in one table: {_each(found)}"
        for found in versions.values()
        if len(found) > 1
    ]
    for name, found in sources(trials).items():
        if len(found) > 1 and not (name == FRAMEWORK and lines):
            of = "ablate's own source" if name == FRAMEWORK else f"the source of {name}"
            told = f"trials of {len(found)} states of {of} stand in one table"
            lines.append(f"{told}: {_each({key[:SHOWN]: of for key, of in found.items()})}")
    return lines


def check(trials: pd.DataFrame) -> None:
    """Raises InputError where results of one component's different sources would be compared."""
    mixed = {name: found for name, found in sources(trials).items() if name != FRAMEWORK and len(found) > 1}
    if not mixed:
        return
    name, found = next(iter(mixed.items()))
    more = f", and so do {len(mixed) - 1} other components" if len(mixed) > 1 else ""
    raise InputError(
        f"trials differ in the source of {name} ({_each({key[:SHOWN]: of for key, of in found.items()})}){more}: "
        "their values do not belong together. Remove the folders of those that are not of today's source from "
        "trials/, and give the command of the study again, which measures them anew"
    )


def sources(trials: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """{component: {hash of its source: trials}} of those that have a result and say it in today's way."""
    return _by(trials, "sources", lambda held: held["of"] if held.get("hashes") == SCHEME else {})


def _by(trials: pd.DataFrame, column: str, read: Callable[[dict[str, Any]], Any]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    if column not in trials:
        return found
    for text, rows in trials[trials["state"].isin(COUNTED)].groupby(column, sort=False):  # each text is read once
        try:
            held = read(json.loads(str(text)))
        except (ValueError, AttributeError, KeyError):  # of a table that others wrote
            continue
        for name, value in held.items() if isinstance(held, Mapping) else ():
            if isinstance(value, str):
                found.setdefault(str(name), {}).setdefault(value, []).extend(rows["trial"])
    return found


def _each(found: Mapping[str, Iterable[str]]) -> str:
    """`0.1.0: 3 trials (a, b, c); 0.2.0: 1 trial (d)`."""
    parts = []
    for value, trials in found.items():
        names = list(trials)
        more = ", …" if len(names) > NAMED else ""
        count = "1 trial" if len(names) == 1 else f"{len(names)} trials"
        parts.append(f"{label(value)}: {count} ({', '.join(names[:NAMED])}{more})")
    return "; ".join(parts)
