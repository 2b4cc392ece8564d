"""Check that the data set of today is the one on which complete trials of a folder were trained."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.candidates.names import Names
from ablate.errors import InputError
from ablate.kinds.data import Data, Dataset, load_data
from ablate.worker import records
from ablate.worker.datasets import DIGITS, describe

NAMED = 3  # trials that a message names; the others it counts


def hash_of(data: Data, cache: Path) -> str | None:
    """Return the SHA-256 of the images and the reference as they are now; None where it cannot be computed here.

    Raises InputError for what is wrong with them.
    """
    dataset = read(data, cache)
    return None if dataset is None else dataset.hash


def read(data: Data, cache: Path) -> Dataset | None:
    """Load the data; None where that cannot be done here. Raises InputError for what is wrong with them."""
    try:
        return load_data(data, cache)
    except (InputError, OSError):
        raise
    except Exception:  # noqa: BLE001 - a plugin's own code; the worker that prepares the data reports it
        return None


def locked(data: Data, now: str | None, lock: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a lock's entry of the data: their name, their hash, and since when; the same data keep their date.

    now: the hash of today. lock: the one that was written before.
    """
    before = (lock or {}).get("data")
    if now is None or (isinstance(before, Mapping) and before.get("hash") == now):
        return {"data": before} if isinstance(before, Mapping) else {}
    return {"data": {"name": data.name, "hash": now, "since": datetime.now(UTC).isoformat(timespec="seconds")}}


def check(folder: Path, data: Data, now: str | None, lock: Mapping[str, Any] | None, advice: str) -> list[str]:
    """Return lines about data that changed while no complete trial was trained on them.

    now: the hash of today. advice: what to do about a change. Raises InputError where complete trials were trained on
    other data.
    """
    if now is None:
        return []
    entry = (lock or {}).get("data")
    before = entry if isinstance(entry, Mapping) else {}
    names = Names.read(lock or {}) or Names()
    others = {data_hash: trials for data_hash, trials in trained_on(folder, names).items() if data_hash != now}
    if others:
        lines = []
        for data_hash, trials in others.items():
            since = f" since {before['since']}" if before.get("hash") == data_hash else ""
            more = f"; and {len(trials) - NAMED} more" if len(trials) > NAMED else ""
            lines.append(f"  {describe(data)}: {data_hash[:DIGITS]}{since} -> {now[:DIGITS]}")
            lines.append(f"    trained on it: {'; '.join(trials[:NAMED])}{more}")
        changes = "\n".join(lines)
        raise InputError(
            f"the data are others than complete trials were trained on (then -> now):\n{changes}\n{advice}", str(folder)
        )
    if before and before.get("hash") != now:
        return [
            f"other data than at the last launch, on which no complete trial stands: {describe(data)} "
            f"({str(before.get('hash'))[:DIGITS]} -> {now[:DIGITS]}); trials that were half trained on them begin anew"
        ]
    return []


def trained_on(folder: Path, names: Names) -> dict[str, list[str]]:
    """Return {hash of the data: the trials that were trained on them}, from all records that count."""
    trials: dict[str, list[str]] = {}
    for trial in records.recorded(folder):
        record = records.read_valid(trial)
        if record is not None and isinstance(data_hash := record.get("data_hash"), str):
            trials.setdefault(data_hash, []).append(names.trial(record))
    return trials
