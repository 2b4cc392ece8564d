"""The index of a study's trials: what was read of each, with the state of the files that it stands on.

To read ten thousand records takes many seconds, to ask whether they are still the same files a tenth of one. A trial
whose folder, or a file in it, has another inode, size or time than when it was read is read again, so what changes on
disk is seen. Times of the content can be set by a program, those of the entry itself (ctime) cannot.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.io.files import digest, file_hash, read_json, write_atomic

FILE = ".index.json"  # in a study's folder; who removes it loses nothing
FEWEST = 200  # trials below which all are read each time
SETTLED = 2 * 10**9  # ns that a file has to be older than its reading: a later change may share its times otherwise

State = list[list[Any]]  # [[path below the trial's folder, inode, size, times of content and entry], ...]


@dataclass(frozen=True)
class Trial:
    """What was read of one trial without a warning: its row, and its measurements. state: of its folder then."""

    state: State
    row: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, Any]]


def state_of(folder: Path, names: Iterable[str]) -> State:
    """Return the state of a trial's folder, of those files that it has, and of what lies in those that are folders."""
    path = str(folder)
    found = [_stamp(path, "")]
    for name in names:
        if (stamp := _stamp(path, name)) is not None:
            found.append(stamp)
            if (inner := folder / name).is_dir():
                found += [_stamp(path, f"{name}/{file.name}") for file in sorted(inner.iterdir())]
    return [stamp for stamp in found if stamp is not None]


def unchanged(folder: Path, state: State) -> bool:
    """Return whether all of it still is as it was; a file that has come or gone has changed its folder."""
    path = str(folder)
    return all(_stamp(path, stamp[0]) == stamp for stamp in state)


def settled(state: State, now: int) -> bool:
    """Return whether nothing of it was changed so shortly before `now` that a later change could not be told."""
    return all(max(stamp[3:]) < now - SETTLED for stamp in state)


def read(folder: Path, reader: str) -> dict[str, Trial]:
    """Read a study's index; {} where there is none, or another version of the reader wrote it."""
    try:
        content = read_json(folder / FILE)
        if content["reader"] != reader:
            return {}
        return {name: Trial(*entry) for name, entry in content["trials"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write(folder: Path, trials: Mapping[str, Trial], reader: str) -> None:
    """Write it, where the folder can be written."""
    entries = {name: (trial.state, trial.row, trial.metrics) for name, trial in trials.items()}
    with contextlib.suppress(OSError):
        write_atomic(folder / FILE, json.dumps({"reader": reader, "trials": entries}), durable=False)


def reader_of(sources: Iterable[str]) -> str:
    """Return what tells one version of the reading code from another: the hashes of its files."""
    return digest([file_hash(Path(source)) for source in sources])


def now() -> int:
    """Return the time in ns, as files have it."""
    return time.time_ns()


def _stamp(folder: str, name: str) -> list[Any] | None:
    try:
        found = os.stat(f"{folder}/{name}" if name else folder)  # noqa: PTH116 - a Path takes longer than the question
    except OSError:
        return None
    return [name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
