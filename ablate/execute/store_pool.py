"""The pool of a study in a store: jobs are put there, and whoever joins by `ablate worker URL` takes them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from ablate.errors import InputError
from ablate.execute import store_signs as signs
from ablate.execute import work as jobs
from ablate.execute.child import GRACE
from ablate.execute.exchange import ENDED as LEFT_NOTHING
from ablate.execute.joined import moved
from ablate.execute.leases import Ticket
from ablate.execute.presence import SILENCE, is_gone
from ablate.execute.store_driver import StoreDriver
from ablate.execute.store_jobs import (
    ENDED,
    HELD,
    PREPARE,
    PRESENT,
    REFUSED,
    WAITING,
    Observer,
    Standing,
    files_of,
)
from ablate.execute.store_worker import give_up_lost
from ablate.io.files import write_json
from ablate.io.mirror import is_small
from ablate.io.stores import Object
from ablate.kinds.executor import Job, Pool, Report
from ablate.runtime.patient import doing
from ablate.runtime.stored import SIGNS

LOOK_SECONDS = 1.0  # between two looks for reports
SLOW_SECONDS = 3.0  # between two looks at workers


class StorePool(Pool):
    """Puts jobs into a store, and takes in what workers hand in.

    helpers: makes those who start workers; they are given the number of workers that are there, and end with the pool.
    lease: seconds without a sign of life after which a job is taken over.
    """

    apart = True

    def __init__(
        self,
        work: str,
        driver: StoreDriver,
        helpers: Callable[[str], Sequence[Any]],
        lease: float,
        memory: int | None = None,
    ) -> None:
        if not driver.conditional:
            raise InputError(
                f"{driver.store.url} does not tell two apart that write one name (no conditional writes), so no "
                "worker can join; say --executor local"
            )
        self._work = work
        self._driver = driver
        self._jobs = driver.jobs
        self._store = driver.store
        self._trials = driver.folder / "trials"
        self._lease = lease
        self._memory = memory
        self._running: dict[str, str] = {}  # the job's folder, by its name
        self._closed = False
        self._observer, self._workers = Observer(), Observer()
        self._looked = self._looked_at_workers = float("-inf")
        self._live: list[str] = []
        self._seen: dict[str, str] = {}  # marks of signs
        self._signs: dict[str, dict[str, Any]] = {}
        self._news: list[str] = []
        self._told = set(self._store.listing(REFUSED))
        self._jobs.sweep()
        for standing in self._jobs.look().values():
            if standing.kind not in HELD:
                self._take_back(standing)
        (driver.folder / LEFT_NOTHING).unlink(missing_ok=True)  # or workers that join would leave at once
        driver.push()  # they look for the lock
        self._helpers = list(helpers(self._store.url))
        self.slots = max(1, sum(helper.slots for helper in self._helpers))

    def submit(self, job: Job) -> None:
        """See `Pool.submit`. A worker that an earlier driver has left at the very same job goes on with it."""
        name = str(job["job"])
        if self._closed:
            raise RuntimeError(f"job {name!r} cannot start: the pool is closed")
        if name in self._running or len(self._running) >= self.slots:
            raise RuntimeError(f"job {name!r} cannot start: {len(self._running)} of {self.slots} slots are taken")
        self._driver.check()
        plain = json.loads(json.dumps(dict(job), allow_nan=False))
        moves = "folder" in plain and not plain.get("prepare") and "asked" not in plain
        trial = Path(plain["folder"]).name if moves and Path(plain["folder"]).parent == self._trials else None
        if "asked" in plain:
            raise InputError(f"is measured in a folder; copy {self._store.url} to one first")
        plain = moved(plain, str(self._driver.folder), self._store.url)
        ticket = Ticket(plain, self._work, self._store.url, trial, self._lease, self._memory)
        if plain.get("prepare"):
            content = {"work": self._work, "job": plain}
            self._store.write(PREPARE, json.dumps(content).encode())
        while same := [standing for standing in self._jobs.look().values() if standing.job == name]:
            for standing in same:
                if standing.ticket == ticket and standing.kind in (*WAITING, *HELD):
                    self._running[name] = standing.name
                    return
                self._take_back(standing)  # unless its holder was just writing: then once more
        self._driver.push("sources")
        if trial is not None:
            self._driver.push(f"trials/{trial}")
        files = {} if trial is None else files_of(self._store, trial)
        self._running[name] = self._jobs.post(ticket, files)

    def wait(self, timeout: float) -> list[Report]:
        """See `Pool.wait`."""
        end = time.monotonic() + timeout
        missing = f"waiting for workers: `ablate worker {self._store.url}` in any shell that reaches it"
        with doing(missing, 1.0) if not self._live and not self._helpers else contextlib.nullcontext():
            while self._running:
                self._driver.check()
                if reports := self._look():
                    return reports
                if (left := end - time.monotonic()) <= 0:
                    return []
                time.sleep(min(0.1, left))
        return []

    def news(self) -> list[str]:
        """Return what workers said that do not take part; see `Pool.news`."""
        lines, self._news = self._news, []
        return lines

    def abandon(self, job: str, why: str) -> bool:
        """See `Pool.abandon`; its worker does it, and says where in the code it hung."""
        if job not in self._running:
            return False
        self._jobs.order(self._running[job], cancel=why)
        return True

    def close(self) -> None:
        """Let workers write checkpoints and put back what they hold; what they do not put back is taken from them."""
        if self._closed:
            return
        self._closed = True
        try:
            self._driver.check()
            end, asked = time.monotonic() + GRACE, set[str]()
            while standings := self._jobs.look():
                for standing in standings.values():
                    if standing.kind not in HELD or time.monotonic() >= end:
                        self._take_back(standing)
                    elif standing.name not in asked:
                        self._jobs.order(standing.name, stop=True)
                        asked.add(standing.name)
                self._give_up(list(standings.values()))
                if asked:
                    time.sleep(0.2)
        finally:
            for helper in self._helpers:
                helper.end()
        self._store.remove([PREPARE, *self._store.listing(REFUSED)])
        self._jobs.sweep()

    # --- looks ----------------------------------------------------------------------------------------

    def _look(self) -> list[Report]:
        """Look at jobs and workers, now and then; return what has ended."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return []
        standings = self._jobs.look()
        self._looked = time.monotonic()
        reports = [self._arrived(standing) for standing in standings.values() if standing.kind == ENDED]
        for name, folder in list(self._running.items()):
            if folder not in standings:
                self._running.pop(name)  # removed from outside
                reports.append(json.loads(jobs.lost(name, "its job is gone from the store")))
        if now - self._looked_at_workers >= SLOW_SECONDS:
            self._look_at_workers(list(standings.values()))
            self._looked_at_workers = time.monotonic()
        return [report for report in reports if report is not None]

    def _arrived(self, standing: Standing) -> Report | None:
        """Take in what a job has made; return its report where it is one of these."""
        self._take_in(standing)
        if self._running.get(standing.job) != standing.name:
            return None
        del self._running[standing.job]
        return cast(Report, {**standing.entry["report"], "job": standing.job})

    def _take_back(self, standing: Standing) -> None:
        """Take a job back, with what its trial has come to."""
        if standing.kind == ENDED or standing.kind == "withdrawn" or self._jobs.withdraw(standing):
            self._take_in(standing)

    def _take_in(self, standing: Standing) -> None:
        trial = standing.ticket.trial
        with self._driver.lock:
            self._driver._guard()
            self._jobs.take_in(standing, trial)
            if trial is not None and standing.files:
                (self._trials / trial / "progress.json").unlink(missing_ok=True)
                self._driver.mirror.pull_part(f"trials/{trial}", is_small)

    def _give_up(self, standings: list[Standing]) -> None:
        held = [standing for standing in standings if standing.kind in HELD]
        if held:
            give_up_lost(self._jobs, self._observer, held)

    def _look_at_workers(self, standings: list[Standing]) -> None:
        """Count the workers that are there, take over from those that are not, and note what the others report."""
        self._give_up(standings)
        present: dict[str, Object] = self._store.listing(PRESENT)
        ages = self._workers.look(present, SLOW_SECONDS * 3)
        self._live = [name for name, age in ages.items() if age < max(self._lease, SILENCE)]
        for name in present:
            if self._seen.get(name) != present[name].mark:
                self._signs[name] = signs.read(self._store, name) or {}
                self._note(self._signs[name])
            elif ages[name] > signs.BEAT_SECONDS and is_gone(signs.read(self._store, name) or {}):
                self._store.remove([name])
                self._live = [one for one in self._live if one != name]
            elif ages[name] > 10 * SILENCE:
                self._store.remove([name])
        self._seen = {name: found.mark for name, found in present.items()}
        self._signs = {name: sign for name, sign in self._signs.items() if name in present}
        said = {"driver": None, "workers": list(self._signs.values())}
        write_json(self._driver.folder / SIGNS, said, durable=False)
        self.slots = max(1, sum(helper.slots for helper in self._helpers), len(self._live))
        for helper in self._helpers:
            helper.keep(len(self._live))
        for name in self._store.listing(REFUSED):
            if name not in self._told:
                self._told.add(name)
                why = (signs.read(self._store, name) or {}).get("why")
                self._news = [*self._news, f"warning: a worker does not take part: {why}"]

    def _note(self, sign: dict[str, Any]) -> None:
        """Put what a trial last reported where the live view and the watchdog look for it."""
        trial, progress = sign.get("trial"), sign.get("progress")
        if isinstance(trial, str) and isinstance(progress, dict) and (self._trials / trial).parent == self._trials:
            with contextlib.suppress(OSError):
                write_json(self._trials / trial / "progress.json", progress, durable=False)
