"""The executor `workers`: jobs are put into the study's folder, and whoever joins by `ablate worker DIR` takes them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from ablate.errors import InputError
from ablate.execute import joined, leases, presence
from ablate.execute import work as jobs
from ablate.execute.child import GRACE
from ablate.execute.leases import Jobs, Observer, Ticket
from ablate.execute.local import signals_deferred
from ablate.execute.share import machine, share
from ablate.execute.store_driver import driver_at
from ablate.io.files import read_json, write_json
from ablate.kinds.executor import Executor, Job, Pool, Report
from ablate.runtime.patient import doing
from ablate.spec.component import Extent

LOOK = 0.5  # seconds between two looks at workers, leases and links
SHORTEST, LONGEST_NAP = 0.005, 0.1  # seconds between two looks for a report
STARTS = 5  # times that a worker of our own is started again, without a job done in between
CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ablate.execute.joined import main; main()"


class Workers(Executor):
    """Workers that join by `ablate worker DIR` from any shell of any machine that shares the study's folder.

    They come and go while the study runs: each holds one trial at a time by a lease, and the trial of one that dies, or
    gives no sign of life for `lease` seconds, is taken over from its checkpoint. `workers` says how many the driver
    starts itself on this machine; without it none, and it waits for others. No Ray and no network is needed. A driver
    that is killed may come back: workers go on with what they hold.
    """

    name = "workers"
    preference: ClassVar[int] = -1  # never chosen by itself
    by_url: ClassVar[Literal["here", "there"] | None] = "there"

    lease: Annotated[float, Field(ge=1, le=leases.LONGEST), Extent()] = 60.0  # s without a sign of life
    _study: Path | None = PrivateAttr(None)

    def in_folder(self, folder: Path) -> Self:
        """Return the executor for a study's folder."""
        placed = self.model_copy()
        placed._study = folder
        return placed

    def start(self, work: str, device: str) -> Pool:
        """Start a pool; without a study's folder in a temporary one, where nobody could join, with own workers."""
        if not hasattr(signal, "pthread_sigmask"):
            raise InputError("studies are run on Linux or macOS; on Windows, run this in WSL")
        own = self.workers or (1 if self._study is None else 0)
        threads = share(machine(device), own, None, None, "cpu").cpus if own else None

        def helpers(study: str) -> list[Helper]:
            return [_Own(study, threads) for _ in range(own)]

        if self._study is not None and (driver := driver_at(self._study)) is not None:
            from ablate.execute.store_pool import StorePool

            return StorePool(work, driver, helpers, self.lease, self.memory)
        return WorkersPool(work, self._study, lambda jobs: helpers(str(jobs.study)), self.lease, self.memory)


class Helper(ABC):
    """Who sees to it that there are workers, for as long as a pool is open. slots: of jobs that it stands for."""

    slots: int = 0

    @abstractmethod
    def keep(self, live: int) -> None:
        """Replace workers that are gone; asked twice a second. live: workers that give signs of life.

        Raises InputError where they do not stay.
        """

    @abstractmethod
    def end(self) -> None:
        """End them. They hold nothing any more."""


class WorkersPool(Pool):
    """Puts jobs into a study's folder, and takes in what workers hand in.

    helpers: makes those who start workers. lease: seconds without a sign of life after which a job is taken over.
    memory: bytes that it may have resident. `slots` follows the workers that are there; with none it is 1: a job waits
    for the first.
    """

    apart = True

    def __init__(
        self,
        work: str,
        study: Path | None,
        helpers: Callable[[Jobs], Sequence[Helper]],
        lease: float,
        memory: int | None = None,
    ) -> None:
        self._work = work
        self._memory = memory
        self._lease = lease
        self._temporary = None if study is not None else tempfile.mkdtemp(prefix="ablate-workers-")
        self._study = study if study is not None else Path(str(self._temporary))
        self._jobs = Jobs(self._study)
        self._running: set[str] = set()
        self._closed = False
        self._observer = Observer()
        self._looked = float("-inf")
        self._live: list[str] = []
        self._jobs.create()
        self._closing = self._jobs.root / leases.CLOSING
        self._closing.unlink(missing_ok=True)
        self._told = {file.name for file in self._jobs.refused.iterdir()}  # of earlier drivers
        self._jobs.recall()
        self._jobs.reap(self._observer, self._is_dead)
        self._sign = presence.DriverSign(self._jobs)
        self._helpers: Sequence[Helper] = ()
        try:
            self._helpers = helpers(self._jobs)
        except BaseException:
            self.close()
            raise
        self.slots = max(1, sum(helper.slots for helper in self._helpers))

    def submit(self, job: Job) -> None:
        """See `Pool.submit`. A worker that an earlier driver has left at the very same job goes on with it."""
        name = str(job["job"])
        if self._closed:
            raise RuntimeError(f"job {name!r} cannot start: the pool is closed")
        if name in self._running or len(self._running) >= self.slots:
            raise RuntimeError(f"job {name!r} cannot start: {len(self._running)} of {self.slots} slots are taken")
        plain = json.loads(json.dumps(dict(job), allow_nan=False))
        moves = "folder" in plain and not plain.get("prepare") and "asked" not in plain
        trial = Path(plain["folder"]).name if moves and Path(plain["folder"]).parent == self._jobs.trials else None
        ticket = Ticket(plain, self._work, str(self._study), trial, self._lease, self._memory)
        if plain.get("prepare"):
            write_json(self._jobs.root / joined.PREPARE, {"work": self._work, "job": plain})
        while (there := self._jobs.find(name)) is not None:
            if there[1] == ticket:
                break
            self._jobs.take_back(there[0])
        else:
            self._jobs.post(ticket)
        self._running.add(name)

    def wait(self, timeout: float) -> list[Report]:
        """See `Pool.wait`."""
        end, nap = time.monotonic() + timeout, SHORTEST
        waiting = doing(self._missing(), 1.0) if not self._live and not self._helpers else contextlib.nullcontext()
        with waiting:
            while self._running:
                self._look()
                reports = self._arrived()
                if reports or (left := end - time.monotonic()) <= 0:
                    return reports
                time.sleep(min(nap, left))
                nap = min(2 * nap, LONGEST_NAP)
        return []

    def news(self) -> list[str]:
        """Return what workers said that do not take part; see `Pool.news`."""
        lines = []
        for file in sorted(self._jobs.refused.glob("*.json")):
            if file.name not in self._told:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    lines.append(f"warning: a worker does not take part: {read_json(file)['why']}")
                    self._told.add(file.name)
        return lines

    def abandon(self, job: str, why: str) -> bool:
        """See `Pool.abandon`; its worker does it, and says where in the code it hung."""
        if job not in self._running or (there := self._jobs.find(job)) is None:
            return False
        self._jobs.cancel(there[0], why)
        return True

    def close(self) -> None:
        """Let workers write checkpoints and put back what they hold; what they do not put back is taken from them."""
        if self._closed:
            return
        self._closed = True
        self._running.clear()
        try:
            self._closing.touch()
            self._jobs.recall()
            for _, place in self._jobs.places():
                self._jobs.stop(place)
            end = time.monotonic() + GRACE
            while any(self._jobs.places()) and time.monotonic() < end:
                self._jobs.reap(self._observer, self._is_dead)
                self._jobs.recall()
                self._sign.beat()
                time.sleep(SHORTEST)
        finally:
            for helper in self._helpers:
                helper.end()
            for _, place in self._jobs.places():
                self._jobs.take_back(place)  # whoever holds it still can write to it no more
            self._jobs.recall()
            self._sign.end()
            presence.live(self._jobs, self._observer)  # the files of those that were killed go
            (self._jobs.root / joined.PREPARE).unlink(missing_ok=True)
            for file in self._jobs.refused.glob("*.json"):
                file.unlink(missing_ok=True)
            self._closing.unlink(missing_ok=True)
            self._jobs.clear()
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    # --- looks ----------------------------------------------------------------------------------------

    def _arrived(self) -> list[Report]:
        """Return the reports of running jobs that have been handed in."""
        reports: list[Report] = []
        for job, text in self._jobs.reports():
            if job not in self._running:
                continue  # its trial is in its place again, and its record counts
            self._running.discard(job)
            try:
                report: Report = json.loads(text)
            except ValueError:
                report = json.loads(jobs.lost(job, "its worker's report is damaged"))
            reports.append({**report, "job": job})
        return reports

    def _look(self) -> None:
        """Look at workers, leases and links, now and then."""
        now = time.monotonic()
        if now - self._looked < LOOK or self._closed:
            return
        self._looked = now
        self._sign.beat()
        self._jobs.reap(self._observer, self._is_dead)
        self._live = presence.live(self._jobs, self._observer, max(self._lease, presence.SILENCE))
        self.slots = max(1, sum(helper.slots for helper in self._helpers), len(self._live))
        for helper in self._helpers:
            helper.keep(len(self._live))
        self._jobs.link_held()

    def _is_dead(self, worker: str) -> bool:
        return presence.is_dead(self._jobs, worker)

    def _missing(self) -> str:
        """Return what is waited for where there is no worker."""
        return f"waiting for workers: `ablate worker {self._study}` in any shell that sees this folder"


class _Own(Helper):
    """A worker process of this driver, which is started again where it dies."""

    slots = 1

    def __init__(self, study: str, threads: int | None) -> None:
        self._request = json.dumps({"study": study, "threads": threads})
        self._starts = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        self._starts += 1
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109 - what "" stands for
        with signals_deferred(), tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", CODE, path, self._request, str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
            )
            self._errors = os.dup(errors.fileno())
        return process

    def keep(self, live: int) -> None:
        """Start it again where it died. Raises InputError where it does not stay."""
        if (code := self._process.poll()) is None:
            return
        errors = os.pread(self._errors, 4000, 0).decode(errors="replace").strip()
        os.close(self._errors)
        if code == 2 or self._starts > STARTS:
            raise InputError(f"a worker on this machine ended by itself: {errors or f'exit code {code}'}")
        self._process = self._start()

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._errors)
