"""A folder here and its like in a store: what is new is brought from one to the other.

In a store a study's folder looks as it does on a disk: the same names, each file an object. Hidden files (locks, what
is half written) and `workers/` do not travel. A file in the folder, `.store.json`, remembers what both sides were when
they were last the same.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ablate.io.files import read_json, write_json
from ablate.io.stores import Object, Store, StoreError, sameness

STATE = ".store.json"
WORKERS = "workers"  # in the store: what a driver and its workers tell each other
FINISHED = ("trial.jsonl.gz", "record.json")  # of trials that have ended; the second in folders of earlier versions
RECORDS = (*FINISHED, "paused.json")  # that make a trial count: after all else of it
LARGE = (".safetensors",)  # networks: who reads tables needs none
DATABASE, JOURNALS = ".db", ("-journal", "-wal", "-shm")


class Mirror:
    """A folder here and its like in a store. Not for two threads at once."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        content: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            content = read_json(folder / STATE)
        right = isinstance(content, dict) and content.get("url") == store.url
        self.seat: str = content["seat"] if right else uuid.uuid4().hex  # who this folder is, in the store's log
        self._same: dict[str, list[str]] = dict(content["same"]) if right else {}  # [mark there, sameness here]
        self._saved: dict[str, list[str]] | None = None

    def save(self) -> None:
        """Write down what is the same on both sides."""
        if self._saved != self._same:
            content = {"schema": 1, "url": self.store.url, "seat": self.seat, "same": self._same}
            write_json(self.folder / STATE, content, durable=False)
            self._saved = dict(self._same)

    # --- from there to here ---------------------------------------------------------------------------

    def pull(self, wanted: Callable[[str], bool] = lambda name: True, keep: Iterable[str] = ()) -> int:
        """Make the folder what the store has; return how many files that took. keep: beginnings of names left alone.

        wanted: of a name, whether it is brought here where it is new. A file that came from the store goes when it has
        gone there.
        """
        stay = tuple(keep)
        there = {name: found for name, found in self.store.listing().items() if travels(name)}
        new = [name for name in there if wanted(name) and not name.startswith(stay) and self._is_other(name, there)]
        self._get(there, [name for name in new if _is_record(name)])  # what lies beside is no older than they
        self._get(there, [name for name in new if not _is_record(name)])
        for name in [name for name in self._same if name not in there and not name.startswith(stay)]:
            (self.folder / name).unlink(missing_ok=True)
            del self._same[name]
        self.save()
        return len(new)

    def adopt(self, wanted: Callable[[str], bool]) -> None:
        """Make the folder what the store has, after somebody else wrote there; trials of which it has no record stay.

        What was measured here, and did not come there any more, is not lost; everything else is as it is there.
        """
        there = {name for name in self.store.listing() if travels(name)}
        if "lock.json" not in there:  # nothing was ever there, or it is gone: what is here counts
            self._same = {}
            return
        keep = [
            f"{trial}/" for trial in self._recorded_trials() if not any(f"{trial}/{name}" in there for name in FINISHED)
        ]
        for name in self._here():
            if name not in there and not name.startswith(tuple(keep)):
                (self.folder / name).unlink(missing_ok=True)
                self._same.pop(name, None)
        self.pull(wanted, keep)

    def pull_part(self, prefix: str, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Make one folder below what the store has of it."""
        there = {name: found for name, found in self.store.listing(prefix).items() if travels(name) and wanted(name)}
        for name in self._here(prefix):
            if name not in there:  # a network too: it may be one of before
                (self.folder / name).unlink(missing_ok=True)
        for name in [name for name in self._same if name.startswith(f"{prefix}/") and name not in there]:
            del self._same[name]
        new = [name for name in there if self._is_other(name, there)]
        self._get(there, [name for name in new if not _is_record(name)])
        self._get(there, [name for name in new if _is_record(name)])
        self.save()

    def _is_other(self, name: str, there: Mapping[str, Object]) -> bool:
        mark, here = self._same.get(name, ("", ""))
        return mark != there[name].mark or _sameness(self.folder / name) != here

    def _get(self, there: Mapping[str, Object], names: Iterable[str]) -> None:
        for name in self.store.download({name: self.folder / name for name in names}):
            self._same[name] = [there[name].mark, _sameness(self.folder / name)]

    # --- from here to there ---------------------------------------------------------------------------

    def push(self, prefix: str = "", guard: Callable[[], object] = lambda: None) -> int:
        """Make the store what the folder has; return how many files that took.

        guard: is called before anything is written there, and raises where that must not be. Records go last.
        """
        here = self._here(prefix)
        below = f"{prefix}/" if prefix else ""
        new = [name for name, now in here.items() if self._same.get(name, ["", ""])[1] != now]
        gone = [name for name in self._same if name.startswith(below) and name not in here]
        if not new and not gone:
            return 0
        guard()
        for names in ([n for n in new if not _is_record(n)], [n for n in new if _is_record(n)]):
            with tempfile.TemporaryDirectory(prefix="ablate-") as place:
                files = {name: _snapshot(self.folder / name, Path(place)) for name in names}
                for name in self.store.upload(files):
                    self._same[name] = ["", here[name]]
        self.store.remove(gone)
        for name in gone:
            del self._same[name]
        self.save()
        return len(new) + len(gone)

    def _here(self, prefix: str = "") -> dict[str, str]:
        """Return the files that travel, by name, with what changes when they do."""
        found: dict[str, str] = {}
        top = self.folder / prefix if prefix else self.folder
        for place, folders, files in os.walk(top):
            relative = os.path.relpath(place, self.folder)
            start = "" if relative == "." else f"{relative}/"
            folders[:] = [name for name in folders if not name.startswith(".") and start + name != WORKERS]
            for name in files:
                if travels(start + name) and (now := _sameness(Path(place) / name)):
                    found[start + name] = now
        return found

    def _recorded_trials(self) -> list[str]:
        trials = self.folder / "trials"
        return [f"trials/{file.parent.name}" for name in FINISHED for file in trials.glob(f"*/{name}")]


def travels(name: str) -> bool:
    """Return whether a file is of the study, and not of this machine or of the talk with workers."""
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not (hidden or name.startswith(f"{WORKERS}/") or name.endswith((*JOURNALS, ".tmp")))


def is_small(name: str) -> bool:
    """Return whether a file is no network."""
    return not name.endswith(LARGE)


def _is_record(name: str) -> bool:
    return name.rpartition("/")[2] in RECORDS


def _snapshot(file: Path, place: Path) -> Path:
    """Return a file to upload: itself, or of a database that may be at work a copy of one moment."""
    if file.suffix != DATABASE or not file.exists():
        return file
    copy = place / uuid.uuid4().hex
    try:
        uri = f"file:{quote(str(file))}?mode=ro"  # or it would be made where it has just been renamed
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=60)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        if not file.exists():
            return file
        raise StoreError(f"cannot be read ({error})", str(file)) from None
    return copy


def _sameness(file: Path) -> str:
    try:
        return sameness(file)
    except OSError:
        return ""
