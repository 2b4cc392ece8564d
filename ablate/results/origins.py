"""Provenance of the trials in one table: which source code and which version of ablate each comes from."""

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
Trials = dict[str, list[str]]  # {a version, or the hash of a source: names of trials}


def describe_mixture(trials: pd.DataFrame) -> list[str]:
    """Describe in a line each what differs between trials: version of ablate, its source, a component's source."""
    versions = _trials_by(trials, "versions", lambda entry: {FRAMEWORK: entry.get(FRAMEWORK)})
    lines = [
        f"trials of {len(by_version)} versions of ablate stand in one table: {_listing(by_version)}"
        for by_version in versions.values()
        if len(by_version) > 1
    ]
    for name, by_hash in sources(trials).items():
        if len(by_hash) > 1 and not (name == FRAMEWORK and lines):
            source = "ablate's own source" if name == FRAMEWORK else f"the source of {name}"
            lines.append(f"trials of {len(by_hash)} states of {source} stand in one table: {_listing(_short(by_hash))}")
    return lines


def check(trials: pd.DataFrame) -> None:
    """Raise InputError where results of different sources of one component would be compared."""
    mixed = {name: by_hash for name, by_hash in sources(trials).items() if name != FRAMEWORK and len(by_hash) > 1}
    if not mixed:
        return
    name, by_hash = next(iter(mixed.items()))
    more = f", and so do {len(mixed) - 1} other components" if len(mixed) > 1 else ""
    raise InputError(
        f"trials differ in the source of {name} ({_listing(_short(by_hash))}){more}: "
        "their values do not belong together. Remove the folders of those that are not of today's source from "
        "trials/, and give the command of the study again, which measures them anew"
    )


def sources(trials: pd.DataFrame) -> dict[str, Trials]:
    """Return {component: {hash of its source: trials}}, of trials with a result whose hashes are of today's scheme."""
    return _trials_by(trials, "sources", lambda entry: entry["of"] if entry.get("hashes") == SCHEME else {})


def _trials_by(trials: pd.DataFrame, column: str, read: Callable[[dict[str, Any]], Any]) -> dict[str, Trials]:
    """Group trials by what `read` takes from a column of JSON: {name: {value: trials}}."""
    groups: dict[str, Trials] = {}
    if column not in trials:
        return groups
    for text, rows in trials[trials["state"].isin(COUNTED)].groupby(
        column, sort=False, observed=True
    ):  # each text is read once
        try:
            values = read(json.loads(str(text)))
        except (ValueError, AttributeError, KeyError):  # of a table that others wrote
            continue
        names = rows["trial"].tolist()
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, str):
                groups.setdefault(str(name), {}).setdefault(value, []).extend(names)
    return groups


def _short(by_hash: Trials) -> Trials:
    """Shorten the hashes to what a message shows."""
    return {hash_[:SHOWN]: trials for hash_, trials in by_hash.items()}


def _listing(groups: Mapping[str, Iterable[str]]) -> str:
    """Format groups of trials: `0.1.0: 3 trials (a, b, c); 0.2.0: 1 trial (d)`."""
    parts = []
    for value, trials in groups.items():
        names = list(trials)
        more = ", …" if len(names) > NAMED else ""
        count = "1 trial" if len(names) == 1 else f"{len(names)} trials"
        parts.append(f"{label(value)}: {count} ({', '.join(names[:NAMED])}{more})")
    return "; ".join(parts)
