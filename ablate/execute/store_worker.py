"""The jobs of a study in a store, as a worker that joins by `ablate worker URL` sees them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ablate.errors import InputError
from ablate.execute import store_signs as signs
from ablate.execute.exchange import ENDED
from ablate.execute.presence import SILENCE, is_gone
from ablate.execute.store_jobs import HELD, PREPARE, PRESENT, REFUSED, WAITING, Observer, Standing, StoreJobs
from ablate.execute.store_lease import StoreLease
from ablate.io.files import read_json
from ablate.io.locks import try_lock
from ablate.io.stores import Object, Store, StoreError, name_of
from ablate.runtime.machine import cache_folder

LOOK_SECONDS = 1.0  # between two looks for a job
LOCK = "lock.json"


class StoreExchange:
    """The jobs of a study in a store; its files are brought into a folder of this worker's own, and go with it.

    Raises StoreError where the store cannot be reached, InputError where no study is there, or two who claim one job
    could not be told apart.
    """

    def __init__(self, url: str, say: Callable[[str], None] = lambda line: None) -> None:
        self.store = Store(url, say=say)
        if not self.store.check():
            raise InputError(
                "does not tell two apart that write one name (no conditional writes), so no worker can join; "
                "a driver alone may use it",
                self.store.url,
            )
        if self.store.read(LOCK) is None:
            begin = f"ablate run STUDY --out {self.store.url} --executor workers"
            raise InputError(f"is no study's folder; begin one there: {begin}", self.store.url)
        self.name = signs.worker_name()
        self._jobs = StoreJobs(self.store)
        self._observer = Observer()
        self._sign = signs.Sign(self.store, signs.of_worker(self.name))
        self._looked = float("-inf")
        self._beaten = float("-inf")
        self._held = False  # whether anybody held a job at the last look
        self._lease: StoreLease | None = None
        self._beating = threading.Lock()
        self._driver = Observer()
        self._asked: dict[str, float] = {}  # at which look it was asked last
        home = cache_folder() / "stores" / f"{name_of(self.store.url)}.workers"
        _sweep(home)
        self.study = home / self.name
        self.study.mkdir(parents=True, exist_ok=True)
        self._lock = try_lock(self.study / ".worker")  # who sweeps sees by it that this folder is in use

    def join(self) -> None:
        """See `Exchange`."""
        self._beat()

    def beat(self) -> None:
        """See `Exchange`; also what the trial last reported."""
        lease = self._lease
        seconds = signs.BEAT_SECONDS if lease is None else min(signs.BEAT_SECONDS, lease.ticket.seconds / 2)
        if time.monotonic() - self._beaten >= seconds / 2:
            with contextlib.suppress(StoreError):  # a store that is away takes nothing away
                self._beat()

    def _beat(self) -> None:
        with self._beating:
            self._beaten = time.monotonic()
            lease, progress = self._lease, None
            if lease is not None and lease.ticket.trial is not None:
                with contextlib.suppress(OSError, ValueError):
                    progress = read_json(lease.place / lease.ticket.trial / "progress.json")
            self._sign.beat(trial=None if lease is None else lease.ticket.trial, progress=progress)

    def leave(self) -> None:
        """See `Exchange`."""
        with contextlib.suppress(StoreError):
            self._sign.end()
        shutil.rmtree(self.study, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

    def claim(self) -> StoreLease | None:
        """See `Exchange`; it looks once a second."""
        if self._lease is not None:
            self._lease = None
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return None
        standings = self._jobs.look()
        try:
            for standing in standings.values():
                if standing.kind in WAITING and (number := self._jobs.claim(standing, self.name)) is not None:
                    return self._begin(standing, number)
            self._held = any(standing.kind in HELD for standing in standings.values())
            self.reap(standings)
        finally:
            self._looked = time.monotonic()
        return None

    def _begin(self, standing: Standing, number: int) -> StoreLease:
        lease = StoreLease(self._jobs, standing, number, self.name, self.study / "jobs" / standing.name)
        if standing.ticket.job.get("plugins"):  # copies of those that this machine has not
            self.store.download({LOCK: self.study / LOCK})
            self._bring("sources")
        for path in _below(standing.ticket.job, f"{standing.ticket.study}/"):
            if path != f"trials/{standing.ticket.trial}" and "/" in path:
                self._bring(path)  # of the trial that it learns from, or goes on from
        lease.begin()
        self._lease = lease
        return lease

    def _bring(self, prefix: str) -> None:
        there: dict[str, Object] = self.store.listing(prefix)
        self.store.download({name: self.study / name for name in there if not (self.study / name).exists()})

    def reap(self, standings: dict[str, Standing]) -> None:
        """Take over the jobs of workers that give no sign of life."""
        held = [standing for standing in standings.values() if standing.kind in HELD]
        if held:
            give_up_lost(self._jobs, self._observer, held)

    def finished(self) -> bool:
        """See `Exchange`."""
        return not self._held and self._seldom("finished", lambda: self.store.read(ENDED) is not None)

    def alone(self) -> bool:
        """See `Exchange`."""

        def ask() -> bool:
            there = {name: found for name, found in self.store.listing("workers").items() if name == signs.DRIVER}
            return not self._held and self._driver.look(there, SILENCE / 3).get(signs.DRIVER, SILENCE + 1) > SILENCE

        return self._seldom("alone", ask)

    def _seldom(self, what: str, ask: Callable[[], bool]) -> bool:
        """Ask at the look that has just been; in between, say no."""
        if self._asked.get(what) == self._looked:
            return False
        self._asked[what] = self._looked
        return ask()

    def driver(self) -> dict[str, Any] | None:
        """See `Exchange`."""
        return signs.read(self.store, signs.DRIVER)

    def preparation(self) -> dict[str, Any]:
        """See `Exchange`."""
        content = signs.read(self.store, PREPARE)
        if content is None:
            raise FileNotFoundError(PREPARE)
        return content

    def refuse(self, why: str) -> None:
        """See `Exchange`."""
        with contextlib.suppress(StoreError):
            content = {**signs.facts(), "why": why}
            self.store.write(f"{REFUSED}/{self.name}-{int(time.time())}.json", json.dumps(content).encode())


def give_up_lost(jobs: StoreJobs, observer: Observer, held: list[Standing]) -> list[str]:
    """Take their jobs from workers that give no sign of life, or of this machine are known to be dead; return these.

    A worker whose sign has gone is one that was seen to be dead, or has left in the midst of it.
    """
    present = jobs.store.listing(PRESENT)
    ages = observer.look(present, gap=min(standing.ticket.seconds for standing in held) / 3)
    lost = []
    for standing in held:
        name = signs.of_worker(standing.worker)
        silent = ages.get(name, float("inf")) >= standing.ticket.seconds
        if not silent and ages.get(name, 0.0) > signs.BEAT_SECONDS / 2:
            silent = bool(is_gone(signs.read(jobs.store, name) or {}))
        if silent:
            jobs.give_up(standing)
            lost.append(standing.job)
    return lost


def _below(value: Any, start: str) -> Iterator[str]:
    """Yield the paths in JSON that begin so, without that beginning."""
    if isinstance(value, str):
        if value.startswith(start):
            yield value.removeprefix(start)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _below(item, start)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _below(item, start)


def _sweep(home: Path) -> None:
    """Remove the folders of workers that were killed."""
    with contextlib.suppress(OSError):
        for folder in os.scandir(home):
            lock = try_lock(Path(folder.path) / ".worker")
            if lock is not None:
                shutil.rmtree(folder.path, ignore_errors=True)
                lock.release()
