"""The index of a study's trials: what was read of each, with the state of the files that it stands on.

To read ten thousand records takes many seconds, to ask whether they are still the same files a tenth of one. A trial
whose folder, or a file in it, has another inode, size or time than when it was read is read again, so what changes on
disk is seen. Times of the content can be set by a program, those of the entry itself (ctime) cannot. Of what was read
so soon after it was written that a later change may share its times, the contents are compared.

It is a folder of four files: the states; the rows of each trial, which are needed where another one has changed; and
the two tables that all rows make, which are read in a tenth of that time where none has.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ablate.io.files import digest, file_hash, read_json, write_atomic

FOLDER = ".index"  # in a study's folder; who removes it loses nothing
STATES, ROWS, TABLES = "states.json", "rows.json", ("trials.parquet", "metrics.parquet")
FEWEST = 200  # trials below which all are read each time
SETTLED = 2 * 10**9  # ns that a file has to be older than its reading: a later change may share its times otherwise

State = list[list[Any]]  # [[path below the trial's folder, inode, size, times of content and entry], ...]


class Rows(NamedTuple):
    """What was read of one trial without a warning: its row, and its measurements."""

    row: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Index:
    """An index that was found: the state of each trial's files. Its rows and tables are read where they are asked for.

    contents: of trials that were read too soon after they were written (`settled`). hashes: of its other files, by
    name; one that is another by now counts as none.
    """

    folder: Path = Path()
    states: Mapping[str, State] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def knows(self, trial: Path) -> bool:
        """Return whether a trial's files are as they were read; one that has come or gone has changed its folder."""
        state, path = self.states.get(trial.name), str(trial)
        if state is None or not all(_stamp(path, stamp[0]) == stamp for stamp in state):
            return False
        content = self.contents.get(trial.name)
        return content is None or content == content_of(trial, state)

    def rows(self) -> dict[str, Rows]:
        """Read what is known of each trial; {} where that is damaged."""
        try:
            return {name: Rows(*entry) for name, entry in json.loads(self._content(ROWS)).items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """Read the tables of trials and of measurements; None where they are damaged, or were not sound enough."""
        try:
            trials, metrics = (pd.read_parquet(io.BytesIO(self._content(name))) for name in TABLES)
        except (OSError, ValueError):  # pyarrow's errors are ValueErrors
            return None
        return trials, metrics

    def _content(self, name: str) -> bytes:
        content = (self.folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.hashes.get(name):
            raise ValueError("another file than was indexed")
        return content


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


def settled(state: State, now: int) -> bool:
    """Return whether nothing of it was changed so shortly before `now` that a later change could not be told."""
    return all(max(stamp[3:]) < now - SETTLED for stamp in state)


def content_of(folder: Path, state: State) -> str:
    """Return the SHA-256 of all files of a trial's state, one after the other."""
    found = hashlib.sha256()
    for name, *_ in state:
        with contextlib.suppress(OSError):  # a folder, or it has gone
            found.update((folder / name).read_bytes())
    return found.hexdigest()


def read(folder: Path, reader: str) -> Index:
    """Find a study's index; an empty one where there is none, or another version of the reader wrote it."""
    place = folder / FOLDER
    try:
        content = read_json(place / STATES)
        if content["reader"] != reader:
            return Index()
        return Index(place, *(dict(content[part]) for part in ("states", "contents", "hashes")))
    except (OSError, ValueError, KeyError, TypeError):
        return Index()


def write(
    folder: Path,
    states: Mapping[str, State],
    contents: Mapping[str, str],
    rows: Mapping[str, Rows],
    tables: tuple[pd.DataFrame, pd.DataFrame] | None,
    reader: str,
) -> None:
    """Write it, where the folder can be written. tables: that all trials make; None where they drew a warning."""
    files = {ROWS: json.dumps(rows).encode()}
    for name, table in zip(TABLES, tables or (), strict=False):
        files[name] = table.to_parquet(index=False)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    known = {"reader": reader, "hashes": hashes, "states": states, "contents": contents}
    files[STATES] = json.dumps(known).encode()
    with contextlib.suppress(OSError):
        for name, content in files.items():  # the states last: until then the old ones find other files
            write_atomic(folder / FOLDER / name, content, durable=False)


def reader_of(sources: Iterable[str]) -> str:
    """Return what tells one version of the reading code from another: the hashes of its files, and pandas' version."""
    return digest([pd.__version__, *(file_hash(Path(source)) for source in sources)])


def now() -> int:
    """Return the time in ns, as files have it."""
    return time.time_ns()


def _stamp(folder: str, name: str) -> list[Any] | None:
    try:
        found = os.stat(f"{folder}/{name}" if name else folder)  # noqa: PTH116 - a Path takes longer than the question
    except OSError:
        return None
    return [name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
