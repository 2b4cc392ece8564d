"""Candidates: which there are, what they are called, and which of them is the baseline."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ablate.errors import InputError, did_you_mean
from ablate.text import label as fit


@dataclass(frozen=True, eq=False)
class Candidate:
    """One configuration, over all its seeds. `index` is its place in the study's own order."""

    config_hash: str
    choices: Mapping[str, Any]  # {dotted path: label}; without the paths that it does not have
    label: str
    index: int = 0
    baseline: bool = False


def candidates(
    trials: pd.DataFrame, baseline: Mapping[str, Any] | None = None, vary: Mapping[str, Any] | None = None
) -> tuple[Candidate, ...]:
    """All candidates of a trials table: the baseline first, then in the order of the study's `vary`."""
    paths = [c for c in trials.columns if c.startswith("c.")]
    found = [
        Candidate(str(row["config_hash"]), {p[2:]: row[p] for p in paths if not pd.isna(row[p])}, "")
        for _, row in trials.drop_duplicates("config_hash").iterrows()
        if not pd.isna(row["config_hash"])
    ]
    matching = match(found, baseline) if baseline else []
    base = matching[0].config_hash if len(matching) == 1 else None
    found = [replace(c, baseline=c.config_hash == base) for c in found]
    found.sort(key=lambda c: (not c.baseline, _place(c.choices, vary or {}), c.config_hash))
    names = _labels(found, baseline or {})
    return tuple(replace(c, index=i, label=name) for i, (c, name) in enumerate(zip(found, names, strict=True)))


def match(found: Sequence[Candidate], wanted: Mapping[str, Any]) -> list[Candidate]:
    """The candidates with these labels.

    A path that a candidate does not name stays as in the base, so it may be missing, but a
    candidate that names it is preferred.
    """

    def same(choices: Mapping[str, Any], path: str, label: Any) -> bool:
        return show(choices[path]) == show(label) if path in choices else label is None

    exact = [c for c in found if all(same(c.choices, p, v) for p, v in wanted.items())]
    return exact or [c for c in found if all(p not in c.choices or same(c.choices, p, v) for p, v in wanted.items())]


def find(found: Sequence[Candidate], wanted: str | Mapping[str, Any]) -> Candidate:
    """The one candidate that is meant by its labels, its name or (the start of) its hash."""
    if isinstance(wanted, Mapping):
        matching, said = match(found, wanted), ", ".join(f"{p}: {show(v)}" for p, v in wanted.items())
    else:
        matching, said = [c for c in found if c.label == wanted], wanted
        if not matching and len(wanted) >= 4:
            matching = [c for c in found if c.config_hash.startswith(wanted)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise InputError(f"{said!r} means {len(matching)} candidates: {', '.join(c.label for c in matching)}; say more")
    raise InputError(f"no candidate is {said!r}{did_you_mean(said, [c.label for c in found])}")


def show(label: Any) -> str:
    """A choice's label for people: a name, a number, or `type(field=value)` for a spec."""
    if isinstance(label, str) and label.startswith("{"):
        try:
            label = json.loads(label)
        except ValueError:
            return str(label)
    if isinstance(label, Mapping):
        rest = ", ".join(f"{k}={show(v)}" for k, v in sorted(label.items()) if k != "type")
        return f"{label.get('type', '')}({rest})" if rest else str(label.get("type", "{}"))
    if label is None or (not isinstance(label, str) and pd.isna(label)):
        return "none"
    if isinstance(label, str):
        return label
    if str(label) in ("True", "False"):
        return str(label).lower()
    return f"{label:g}" if float(label) != int(label) else str(int(label))


def _labels(found: Sequence[Candidate], baseline: Mapping[str, Any]) -> list[str]:
    """Short names that tell the candidates apart."""
    paths = list(dict.fromkeys(p for c in found for p in c.choices))
    varied = [p for p in paths if len({show(c.choices[p]) if p in c.choices else None for c in found}) > 1]
    if not varied:
        varied = paths
    names = _leaves(varied)
    if len(varied) > 1 and baseline:
        changed = [[p for p in varied if p in c.choices and show(c.choices[p]) != show(baseline.get(p))] for c in found]
        if max(map(len, changed), default=0) <= 1:  # one factor at a time: name what was changed
            parts = [
                [f"{names[p]}={show(c.choices[p])}" for p in at] or ["baseline"]
                for c, at in zip(found, changed, strict=True)
            ]
            return _unique([", ".join(p) for p in parts], found)
    clear = _clear(found, varied)
    texts = [
        "/".join(
            show(c.choices[p]) if p in clear else f"{names[p]}={show(c.choices[p])}" for p in varied if p in c.choices
        )
        for c in found
    ]
    return _unique(
        [text or ("baseline" if c.baseline else "base") for text, c in zip(texts, found, strict=True)], found
    )


def _clear(found: Sequence[Candidate], varied: Sequence[str]) -> set[str]:
    """The paths whose labels speak for themselves: names, and no other path has one of them."""
    labels = {p: {show(c.choices[p]) for c in found if p in c.choices} for p in varied}
    among = Counter(label for of in labels.values() for label in of)
    words = re.compile(r"[A-Za-z]\w*(\(.*\))?")
    vague = {"true", "false", "none"}
    return {p for p, of in labels.items() if all(words.fullmatch(x) and among[x] == 1 and x not in vague for x in of)}


def _leaves(paths: Iterable[str]) -> dict[str, str]:
    """The shortest ending of each dotted path that no other path shares."""
    paths = list(paths)
    names = {}
    for path in paths:
        parts = path.split(".")
        for n in range(1, len(parts) + 1):
            name = ".".join(parts[-n:])
            if sum(other == name or other.endswith(f".{name}") for other in paths) == 1:
                break
        names[path] = name
    return names


def _unique(labels: list[str], found: Sequence[Candidate]) -> list[str]:
    labels = [fit(label) for label in labels]
    counts = Counter(labels)
    return [
        f"{label} ({c.config_hash[:6]})" if counts[label] > 1 else label for label, c in zip(labels, found, strict=True)
    ]


def _place(choices: Mapping[str, Any], vary: Mapping[str, Any]) -> list[tuple[int, int, float, str]]:
    """Sorts candidates as the study lists them; numbers by size, all else by name."""
    key = []
    for path in [*(p for p in vary if p in choices), *sorted(set(choices) - set(vary))]:
        listed = vary.get(path)
        order = [show(v) for v in listed] if isinstance(listed, list) else []
        label = choices[path]
        number = float(label) if not isinstance(label, str) else 0.0
        text = show(label)
        key.append((order.index(text) if text in order else len(order), int(isinstance(label, str)), number, text))
    return key
