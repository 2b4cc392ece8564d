"""Jobs in an object store, each held by one worker at a time, whatever machines reach the store.

Nothing is renamed there, so a job is a log, `workers/jobs/JOB/0`, `1`, `2` … Its last entry says how it stands, and
each is created where there is none (`Store.create`): of all that want to write the next one, one does.

    posted ──► claimed ──► saved … ──► ended                     by its holder
                   └──► released, or lost (by whoever looks on) ──► claimed …
                                                    withdrawn    by the driver, at any time

So two never hold one job, and a holder that was taken for dead finds the number of its next entry taken: what it has
uploaded, under names that nobody else uses, is in no entry, and does not count. What a trial consists of stands in the
entry itself: {file: object}.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ablate.execute.leases import LOSSES, SCHEMA, Ticket
from ablate.io.mirror import RECORDS
from ablate.io.stores import Object, Store

JOBS, FILES, ORDERS, PRESENT, REFUSED = (
    f"workers/{name}" for name in ("jobs", "files", "orders", "present", "refused")
)
PREPARE = "workers/prepare.json"  # the job that makes what all trials share
WAITING, HELD = ("posted", "released", "lost"), ("claimed", "saved")
ENDED = "ended"


class Observer:
    """Knows for how long objects have not changed, by this machine's clock; those of others may differ.

    A time in which nobody looked, as the store did not answer, does not count: then nobody could give signs of life.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}
        self._looked: float | None = None

    def look(self, objects: Mapping[str, Object], gap: float) -> dict[str, float]:
        """Return the seconds since each was first seen, or seen to change. gap: s between looks at the most."""
        now = self._clock()
        if self._looked is not None and (away := now - self._looked - gap) > 0:
            self._seen = {name: (mark, since + away) for name, (mark, since) in self._seen.items()}
        self._looked = now
        self._seen = {
            name: self._seen[name] if self._seen.get(name, ("",))[0] == found.mark else (found.mark, now)
            for name, found in objects.items()
        }
        return {name: now - since for name, (_, since) in self._seen.items()}


@dataclass(frozen=True)
class Standing:
    """How a job stands. number: of its last entry, `entry`."""

    name: str  # of its folder
    number: int
    entry: Mapping[str, Any]
    ticket: Ticket

    @property
    def job(self) -> str:
        """The job's name."""
        return unquote(self.name.partition("~")[0])

    @property
    def kind(self) -> str:
        """The kind of its last entry."""
        return str(self.entry["kind"])

    @property
    def worker(self) -> str:
        """Who wrote it."""
        return str(self.entry.get("worker", ""))

    @property
    def losses(self) -> int:
        """How many holders were lost so far."""
        return int(self.entry.get("losses", 0))

    @property
    def files(self) -> dict[str, str]:
        """What the trial consists of, {file: object}."""
        return dict(self.entry.get("files", {}))


class StoreJobs:
    """The jobs of a study in a store. May be used by several threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._entries: dict[str, dict[str, Any]] = {}  # they never change
        self._lock = threading.Lock()

    def look(self) -> dict[str, Standing]:
        """Return how all jobs stand, by the names of their folders, in order of these."""
        last: dict[str, int] = {}
        begun = set()
        for name in self.store.listing(JOBS):
            folder, _, number = name.removeprefix(f"{JOBS}/").partition("/")
            if number.isdigit():
                last[folder] = max(last.get(folder, 0), int(number))
                begun |= {folder} if int(number) == 0 else set()
        found = {}
        for folder in sorted(begun):
            first, entry = self._entry(folder, 0), self._entry(folder, last[folder])
            if first is not None and entry is not None and (ticket := _ticket(first)) is not None:
                found[folder] = Standing(folder, last[folder], entry, ticket)
        with self._lock:
            self._entries = {key: entry for key, entry in self._entries.items() if key.partition("/")[0] in begun}
        return found

    def post(self, ticket: Ticket, files: Mapping[str, str]) -> str:
        """Put up a job. files: what its trial consists of so far. Returns the name of its folder."""
        name = f"{quote(str(ticket.job['job']), safe='')}~{uuid.uuid4().hex[:12]}"
        content = {"kind": WAITING[0], "ticket": {"schema": SCHEMA, **vars(ticket)}, "files": dict(files)}
        self.store.create(f"{JOBS}/{name}/0", _text(content))
        return name

    def append(self, name: str, number: int, entry: Mapping[str, Any]) -> bool:
        """Append an entry to a job's log; False where that number is taken, or the job is gone."""
        if not self.store.create(f"{JOBS}/{name}/{number}", _text(entry)):
            return False
        with self._lock:
            self._entries[f"{name}/{number}"] = dict(entry)
        return True

    def is_last(self, name: str, number: int) -> bool:
        """Return whether an entry is still the last one of its job's log, and the job is there."""
        return self.store.read(f"{JOBS}/{name}/{number + 1}") is None and self._is_there(name)

    def _is_there(self, name: str) -> bool:
        return self.store.read(f"{JOBS}/{name}/0") is not None

    def claim(self, standing: Standing, worker: str) -> int | None:
        """Take a job that waits; return the entry's number, None where another was faster."""
        number = standing.number + 1
        entry = {"kind": "claimed", "worker": worker, "losses": standing.losses, "files": standing.files}
        taken = self.append(standing.name, number, entry) and self._is_there(standing.name)
        return number if taken else None

    def give_up(self, standing: Standing) -> None:
        """Take a job from a holder that is lost: it waits again; after too many holders it has ended."""
        losses = standing.losses + 1
        entry: dict[str, Any] = {"kind": "lost", "lost": standing.worker, "losses": losses, "files": standing.files}
        if losses > LOSSES:
            message = f"{losses} workers in turn were lost with it"
            entry |= {"kind": ENDED, "report": {"status": "lost", "message": message, "job": standing.job}}
        self.append(standing.name, standing.number + 1, entry)

    def withdraw(self, standing: Standing) -> bool:
        """Take a job back from whoever has it; False where it has gone on meanwhile."""
        entry = {"kind": "withdrawn", "losses": standing.losses, "files": standing.files}
        return self.append(standing.name, standing.number + 1, entry)

    def order(self, name: str, **order: Any) -> None:
        """Leave an order for a job's holder: `cancel=why`, or `stop=True`."""
        self.store.write(f"{ORDERS}/{name}", _text(order))

    def ordered(self, name: str) -> dict[str, Any]:
        """Return the order for a job's holder; nothing where there is none."""
        content = self.store.read(f"{ORDERS}/{name}")
        return {} if content is None else dict(json.loads(content))

    def take_in(self, standing: Standing, to: str | None) -> None:
        """Make what a job has made the trial of this name in the store, and remove the job.

        May be cut short at any moment, and done again: what is copied never changes, and is removed last.
        """
        if to is not None and standing.files:
            place = f"trials/{to}"
            pairs = {key: f"{place}/{name}" for name, key in standing.files.items() if key != f"{place}/{name}"}
            records = {key for key, target in pairs.items() if target.rpartition("/")[2] in RECORDS}
            self.store.copy({key: target for key, target in pairs.items() if key not in records})
            self.store.copy({key: pairs[key] for key in records})
            self.store.remove(
                name for name in self.store.listing(place) if name.removeprefix(f"{place}/") not in standing.files
            )
        self.remove(standing.name)

    def remove(self, name: str) -> None:
        """Remove a job: without its first entry there is none."""
        self.store.remove([f"{JOBS}/{name}/0"])
        self.store.remove([*self.store.listing(f"{JOBS}/{name}"), *self.store.listing(f"{FILES}/{name}")])
        self.store.remove([f"{ORDERS}/{name}"])

    def sweep(self) -> None:
        """Remove what late holders have left of jobs that are no more. For the driver, at its beginning and end."""
        kept = set(self.look())
        folders = {place: list(self.store.listing(place)) for place in (JOBS, FILES, ORDERS)}
        self.store.remove(
            name
            for place, names in folders.items()
            for name in names
            if name.removeprefix(f"{place}/").partition("/")[0] not in kept
        )

    def _entry(self, name: str, number: int) -> dict[str, Any] | None:
        key = f"{name}/{number}"
        if key not in self._entries:
            content = self.store.read(f"{JOBS}/{key}")
            if content is None:
                return None
            with self._lock:
                self._entries[key] = dict(json.loads(content))
        return self._entries[key]


def _text(content: Mapping[str, Any]) -> bytes:
    """Return an entry, like no other: see `Store.create`."""
    return json.dumps({**content, "own": uuid.uuid4().hex}, allow_nan=False).encode()


def _ticket(entry: Mapping[str, Any]) -> Ticket | None:
    try:
        content = dict(entry["ticket"])
        return Ticket(**content) if content.pop("schema") == SCHEMA else None
    except (KeyError, TypeError, ValueError):
        return None


def files_of(store: Store, trial: str) -> dict[str, str]:
    """Return what a trial in the store consists of, {file: object}."""
    return {name.removeprefix(f"trials/{trial}/"): name for name in store.listing(f"trials/{trial}")}


def local_files(folder: Path) -> dict[str, Path]:
    """Return the files of a trial's folder that are worth to be kept."""
    found = {}
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and not any(part.startswith(".") for part in name.split("/")) and name != "progress.json":
            found[name] = file
    return found
