"""Check that the data set of today is the one on which complete trials of a folder were trained."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.candidates.names import Names
from ablate.errors import InputError
from ablate.kinds.data import Data
from ablate.worker import records
from ablate.worker.datasets import SHOWN, told

NAMED = 3  # trials that a message names; the others it counts


def hash_of(data: Data, cache: Path) -> str | None:
    """SHA-256 of the images and the reference as they lie there now; None where the data cannot tell it here.

    Raises InputError for what is wrong with them.
    """
    try:
        return data.load(cache).hash
    except (InputError, OSError):
        raise
    except Exception:  # noqa: BLE001 - a plugin's own code; the worker that prepares the data tells of it
        return None


def locked(data: Data, now: str | None, held: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a lock keeps of the data: what they are, their hash, and since when; what is the same keeps its date."""
    known = (held or {}).get("data")
    if now is None or (isinstance(known, Mapping) and known.get("hash") == now):
        return {"data": known} if isinstance(known, Mapping) else {}
    return {"data": {"name": data.name, "hash": now, "since": datetime.now(UTC).isoformat(timespec="seconds")}}


def check(folder: Path, data: Data, now: str | None, held: Mapping[str, Any] | None, do: str) -> list[str]:
    """Lines about data that changed while no complete trial stands on them.

    do: what to do about a change. Raises InputError where complete trials were trained on other data.
    """
    if now is None:
        return []
    known = (held or {}).get("data")
    known = known if isinstance(known, Mapping) else {}
    others = {of: who for of, who in trained_on(folder, Names.read(held or {}) or Names()).items() if of != now}
    if others:
        lines = []
        for of, who in others.items():
            since = f" since {known['since']}" if known.get("hash") == of else ""
            more = f"; and {len(who) - NAMED} more" if len(who) > NAMED else ""
            lines.append(f"  {told(data)}: {of[:SHOWN]}{since} -> {now[:SHOWN]}")
            lines.append(f"    trained on it: {'; '.join(who[:NAMED])}{more}")
        changed = "\n".join(lines)
        raise InputError(
            f"the data are others than complete trials were trained on (then -> now):\n{changed}\n{do}", str(folder)
        )
    if known and known.get("hash") != now:
        return [
            f"other data than at the last launch, on which no complete trial stands: {told(data)} "
            f"({str(known.get('hash'))[:SHOWN]} -> {now[:SHOWN]}); trials that were half trained on them begin anew"
        ]
    return []


def trained_on(folder: Path, names: Names) -> dict[str, list[str]]:
    """{hash of the data: the trials that were trained on them}, of all records that count."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("trials/*/record.json")):
        record = records.whole(file.parent)
        if record is not None and isinstance(of := record.get("data_hash"), str):
            found.setdefault(of, []).append(names.trial(record))
    return found
