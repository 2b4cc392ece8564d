"""The candidates of a study: their labels, their order, and which of them is the baseline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from ablate.candidates.names import Names, show
from ablate.errors import InputError, did_you_mean


@dataclass(frozen=True, eq=False)
class CandidateRow:
    """One configuration, over all its seeds. `index` is its place in the study's own order."""

    config_hash: str
    choices: Mapping[str, Any]  # {dotted path: label}; without the paths that it does not have
    label: str
    index: int = 0
    baseline: bool = False


class _Unnamed(NamedTuple):
    config_hash: str
    choices: Mapping[str, Any]


R = TypeVar("R", CandidateRow, _Unnamed)


def candidates(
    trials: pd.DataFrame,
    baseline: Mapping[str, Any] | None = None,
    vary: Mapping[str, Any] | None = None,
    names: Names | None = None,
) -> tuple[CandidateRow, ...]:
    """Return all candidates of a trials table: the baseline first, then in the order of the study's `vary`.

    names: the study's own; those that tell the table's candidates apart where there are none.
    """
    paths = [c for c in trials.columns if c.startswith("c.")]
    first = trials[trials["config_hash"].notna()].drop_duplicates("config_hash")
    # A column of text is quick as a list, and slow item by item.
    chosen = {path[2:]: list(zip(first[path].tolist(), first[path].notna().tolist(), strict=True)) for path in paths}
    rows = [
        _Unnamed(str(name), {path: labels[i][0] for path, labels in chosen.items() if labels[i][1]})
        for i, name in enumerate(first["config_hash"].tolist())
    ]
    matching = match(rows, baseline) if baseline else []
    base = matching[0].config_hash if len(matching) == 1 else None
    place = _Places(vary or {}, {path: {label for label, there in labels if there} for path, labels in chosen.items()})
    rows.sort(key=lambda c: (c.config_hash != base, place(c.choices), c.config_hash))
    names = names or Names.among([c.choices for c in rows], baseline)
    labels = _unique([names(c.choices) for c in rows], rows)
    return tuple(
        CandidateRow(c.config_hash, c.choices, label, i, c.config_hash == base)
        for i, (c, label) in enumerate(zip(rows, labels, strict=True))
    )


def labelled(rows: Sequence[CandidateRow]) -> pd.DataFrame:
    """Begin a table of candidates, a row each: candidate, config_hash, and `c.*`, its choices."""
    return _labelled(tuple(rows)).copy()


@lru_cache(maxsize=4)
def _labelled(rows: tuple[CandidateRow, ...]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {
        "candidate": [c.label for c in rows],
        "config_hash": [c.config_hash for c in rows],
    }
    for path in dict.fromkeys(path for c in rows for path in c.choices):
        columns[f"c.{path}"] = [c.choices.get(path, math.nan) for c in rows]
    return pd.DataFrame(columns)


def match(rows: Sequence[R], labels: Mapping[str, Any]) -> list[R]:
    """Return the candidates with these labels, {dotted path: label}.

    A path that a candidate does not name stays as in the base, so it may be missing, but a
    candidate that names it is preferred.
    """

    def same(choices: Mapping[str, Any], path: str, label: Any) -> bool:
        return show(choices[path]) == show(label) if path in choices else label is None

    exact = [c for c in rows if all(same(c.choices, p, v) for p, v in labels.items())]
    return exact or [c for c in rows if all(p not in c.choices or same(c.choices, p, v) for p, v in labels.items())]


def find(rows: Sequence[CandidateRow], key: str | Mapping[str, Any]) -> CandidateRow:
    """Return the one candidate with these labels, this name or this (start of a) hash; InputError without one."""
    if isinstance(key, Mapping):
        matching, text = match(rows, key), ", ".join(f"{p}: {show(v)}" for p, v in key.items())
    else:
        matching, text = [c for c in rows if c.label == key], key
        if not matching and len(key) >= 4:
            matching = [c for c in rows if c.config_hash.startswith(key)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise InputError(f"{text!r} means {len(matching)} candidates: {', '.join(c.label for c in matching)}; say more")
    raise InputError(f"no candidate is {text!r}{did_you_mean(text, [c.label for c in rows])}")


def _unique(labels: list[str], rows: Sequence[_Unnamed]) -> list[str]:
    counts = Counter(labels)
    return [
        f"{label} ({c.config_hash[:6]})" if counts[label] > 1 else label for label, c in zip(labels, rows, strict=True)
    ]


class _Places:
    """Give the sort key of a candidate: its choices in the study's order; numbers by size, all else by name.

    held: the labels of each path, whose places among all of them are found once.
    """

    def __init__(self, vary: Mapping[str, Any], held: Mapping[str, Iterable[Any]]) -> None:
        self._paths = [*(path for path in vary if path in held), *sorted(set(held) - set(vary))]
        orders = {path: [show(label) for label in listed] for path, listed in vary.items() if isinstance(listed, list)}
        keys = {path: {label: _key(label, orders.get(path, ())) for label in labels} for path, labels in held.items()}
        ranks = {key: i for i, key in enumerate(sorted({key for known in keys.values() for key in known.values()}))}
        self._ranks = {path: {label: ranks[key] for label, key in known.items()} for path, known in keys.items()}

    def __call__(self, choices: Mapping[str, Any]) -> list[int]:
        return [self._ranks[path][choices[path]] for path in self._paths if path in choices]


def _key(label: Any, order: Sequence[str]) -> tuple[int, int, float, str]:
    text = show(label)
    number = float(label) if not isinstance(label, str) else 0.0
    return order.index(text) if text in order else len(order), int(isinstance(label, str)), number, text
