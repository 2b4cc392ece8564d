"""Growth of a study in its folder: more choices, wider ranges, further lines of `vary`, another design, more budget.

What was measured stays what it is: a trial's identity is that of its candidate, its data, its budget and its
evaluation, not that of the question that it was asked for.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.candidates.vary import are_named

GROWING = ("vary", "design", "budget")  # parts of a study that may differ from those of its first launch
LEDGER = "optuna.db"


def growth(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str] | None:
    """Return what a study has more than before, a line each; None where it is another study.

    then, now: what decides results (`Study.active`). [] where nothing differs.
    """
    if any(then.get(key) != now.get(key) for key in {*then, *now} - set(GROWING)):
        return None
    before, after = then.get("vary") or {}, now.get("vary") or {}
    if not all(path in after and _contains(after[path], before[path]) for path in before):
        return None
    budgets = then.get("budget"), now.get("budget")
    if budgets[0] != budgets[1] and not is_larger(*budgets):
        return None
    pairs = {f"vary.{path}": (before.get(path), after[path]) for path in after}
    pairs["design"] = (then.get("design"), now.get("design"))
    pairs["budget"] = budgets
    return [f"{path}: {_show(a)} -> {_show(b)}" for path, (a, b) in pairs.items() if a != b]


def is_larger(then: Any, now: Any) -> bool:
    """Return whether a training budget, as `Budget.active` has it, is more than another one in the same unit."""
    if not (isinstance(then, Mapping) and isinstance(now, Mapping)) or list(then) != list(now) or len(then) != 1:
        return False
    (before,), (after,) = then.values(), now.values()
    return bool(after > before)


def grown(lock: Mapping[str, Any], lines: list[str], aside: str | None = None) -> list[dict[str, Any]]:
    """Return the lock's list of what was added when, with one more entry. aside: the folder of the smaller budget."""
    entry = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "added": lines}
    return [*lock.get("grown", []), entry if aside is None else {**entry, "set_aside": aside}]


def set_ledger_aside(folder: Path) -> None:
    """Keep Optuna's study under another name: it refuses other choices. It is made anew from the trials' records."""
    file = folder / LEDGER
    if file.exists():
        numbers = (n for n in itertools.count(1) if not (folder / f"optuna-{n}.db").exists())
        file.rename(folder / f"optuna-{next(numbers)}.db")


def _show(value: Any) -> str:
    return "(not there)" if value is None else json.dumps(value)


def _contains(now: Any, then: Any) -> bool:
    """Return whether one line of `vary` has all that another has: choices in a list, a range within a range."""
    if isinstance(now, list) and isinstance(then, list):
        return all(choice in now for choice in then)
    if are_named(now) and are_named(then):
        return all(name in now and now[name] == choice for name, choice in then.items())
    if isinstance(now, Mapping) and isinstance(then, Mapping) and {"low", "high"} <= now.keys() & then.keys():
        rest = {key: value for key, value in then.items() if key not in ("low", "high")}
        return (
            now["low"] <= then["low"]
            and then["high"] <= now["high"]
            and rest == {key: value for key, value in now.items() if key not in ("low", "high")}
        )
    return bool(now == then)
