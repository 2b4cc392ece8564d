"""A worker that joins a study from any shell, on any machine that has the folder: takes jobs, runs them, hands them in.

This process holds the lease and gives the signs of life; the jobs run in a process beside it (`ablate.execute.child`),
which ends with it. A machine that cannot run the study's trials (other versions, other plugins, other data) takes no
second one: it says why, and leaves.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ablate.errors import InputError
from ablate.execute.child import GRACE
from ablate.execute.exchange import ENDED, PREPARE, Exchange, FolderExchange, Held
from ablate.execute.local import Child
from ablate.execute.presence import SILENCE, other_versions
from ablate.execute.work import with_plugins
from ablate.io.stores import is_url
from ablate.runtime.machine import cache_folder
from ablate.runtime.parent import end_with
from ablate.worker import sources

POLL = 0.1  # seconds between two looks for a job, or for its end
BEATS = 6.0  # signs of life in the time after which a lease is taken over
__all__ = ["ENDED", "PREPARE", "JoinedWorker", "Tally", "UnfitError", "main"]


class UnfitError(InputError):
    """Raised where the study's trials cannot be run on this machine; its text says why."""


@dataclass
class Tally:
    """What a worker has done, in jobs."""

    done: int = 0
    failed: int = 0
    lost: int = 0  # whose lease was taken over
    stopped: bool = False  # it was told to stop


class JoinedWorker:
    """Runs the jobs of a study, one at a time. study: its folder, or where else its jobs are exchanged.

    threads: CPU threads of a job; None: as the job says, or torch chooses. wait: seconds that it waits without a
    driver and without work. say: takes lines for the user.
    """

    def __init__(
        self,
        study: Path | Exchange,
        threads: int | None = None,
        wait: float = 600.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._jobs: Exchange = FolderExchange(study) if isinstance(study, Path) else study
        self._study = self._jobs.study
        self._threads = threads
        self._wait = wait
        self._say = say
        self._stop = threading.Event()
        self._over = threading.Event()
        self._lease: Held | None = None
        self._lost = threading.Event()  # the lease was taken over
        self._child: Child | None = None
        self._ended: SimpleQueue[str] = SimpleQueue()
        self._fits: set[str] = set()  # jobs' sources that were looked at
        self._prepared = False
        self.tally = Tally()

    def stop(self) -> None:
        """Let the running job write its checkpoint, put it back, and end. May be called by a signal's handler."""
        self._stop.set()

    def run(self) -> Tally:
        """Run jobs until there are no more. Raises UnfitError where this machine cannot run them."""
        self._check_versions()
        self._jobs.join()
        idle_since = time.monotonic()
        threading.Thread(target=self._beat, name="ablate-beat", daemon=True).start()
        try:
            while not self._stop.is_set():
                if (lease := self._jobs.claim()) is not None:
                    self._take(lease)
                    idle_since = time.monotonic()
                elif self._jobs.finished():
                    break
                else:
                    if self._jobs.alone() and time.monotonic() - idle_since >= self._wait:
                        self._say(f"no driver and no work for {self._wait:.0f} s")
                        break
                    self._stop.wait(POLL)
        except UnfitError as error:
            self._jobs.refuse(str(error))
            raise
        finally:
            self._over.set()
            self._end_child()
            self._jobs.leave()
        self.tally.stopped = self._stop.is_set()
        return self.tally

    # --- one job --------------------------------------------------------------------------------------

    def _take(self, lease: Held) -> None:
        """Run a job that this worker holds, and hand it in, or put it back."""
        self._lost.clear()
        self._lease = lease
        try:
            job = self._here(lease)
            self._check_fit(job, lease)
            report = self._report_of(job, lease)
            if report is not None:
                self._hand_in(lease, job, report)
        except UnfitError:
            lease.release()
            raise
        finally:
            self._lease = None
            lease.drop()

    def _here(self, lease: Held) -> dict[str, Any]:
        """Return the job with its paths as this machine has them."""
        ticket = lease.ticket
        job: dict[str, Any] = moved(dict(ticket.job), ticket.study, str(self._study))
        if ticket.trial is not None:
            job["folder"] = str(lease.place / ticket.trial)
        if "cache" in job and not os.access(job["cache"], os.W_OK):
            job["cache"] = str(cache_folder())
        if job.get("threads") is None and self._threads is not None:
            job["threads"] = self._threads
        return dict(with_plugins(job, self._study))

    def _check_versions(self) -> None:
        """Raise UnfitError where versions here are not those of the driver."""
        driver = self._jobs.driver()
        if driver is not None and (other := other_versions(driver)) is not None:
            message = f"{_host()} has other versions than the driver on {driver.get('host')}: {other}"
            raise UnfitError(f"{message}; results would differ, so install the same ones")

    def _check_fit(self, job: Mapping[str, Any], lease: Held) -> None:
        """Raise UnfitError where this machine has other source, other data or other versions than the job wants."""
        self._check_versions()
        if "sources" in job and (key := json.dumps(job["sources"], sort_keys=True)) not in self._fits:
            try:
                sources.checked_catalog(job)
            except sources.OtherSourceError as error:
                raise UnfitError(_other_source(error.changes)) from None
            except InputError as error:
                raise UnfitError(f"{_host()} cannot run this study's trials: {error}") from None
            self._fits.add(key)
        if self._prepared or job.get("prepare"):
            return
        try:
            content = self._jobs.preparation()
            prepare = {**content["job"], **{key: job[key] for key in ("plugins", "cache", "folder") if key in job}}
        except (OSError, ValueError, KeyError, TypeError):
            return
        if content.get("work") == lease.ticket.work and job.get("data_hash"):
            report = self._report_of({**prepare, "job": job["job"]}, lease)
            if report is not None and (report["status"] != "done" or report.get("data_hash") != job["data_hash"]):
                reason = report.get("message") or "its data are others than the driver's"
                raise UnfitError(f"{_host()} cannot run this study's trials: {reason}")
            self._prepared = True

    def _report_of(self, job: Mapping[str, Any], lease: Held) -> dict[str, Any] | None:
        """Run a job in the process beside; None where it was stopped and put back, or is another's by now."""
        if self._lost.is_set() or not lease.beat():
            return None
        while self._child is None or not self._child.begin(str(job["job"]), json.dumps(job), self._ended):
            self._end_child()
            self._child = Child(lease.ticket.work)
        asked: float | None = None
        while True:
            try:
                report: dict[str, Any] = json.loads(self._ended.get(timeout=POLL))
            except Empty:
                if self._lost.is_set():
                    self._end_child()
                    self.tally.lost += 1
                    self._say(f"{job['job']}: another worker has taken it over, as this one gave no sign of life")
                    return None
                if lease.ticket.memory is not None and self._child.limit(lease.ticket.memory):
                    continue
                if (why := lease.cancelled()) is not None:
                    self._child.abandon(str(job["job"]), why)
                elif asked is None and (self._stop.is_set() or lease.stopping()):
                    asked = time.monotonic()
                    self._child.ask_to_stop()
                elif asked is not None and time.monotonic() - asked > GRACE:
                    self._put_back(job, lease)
                    return None
                continue
            if report["status"] == "lost" and (asked is not None or self._stop.wait(POLL)):  # told it by a signal
                self._put_back(job, lease)
                return None
            return report

    def _put_back(self, job: Mapping[str, Any], lease: Held) -> None:
        self._end_child()
        if lease.release():
            self._say(f"{job['job']}: stopped; it goes on from its checkpoint")

    def _hand_in(self, lease: Held, job: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        """Hand in a report; raise UnfitError where it says that this machine is at fault."""
        if "other_source" in report:
            raise UnfitError(_other_source(report["other_source"]))
        if "other_data" in report:
            raise UnfitError(f"{_host()} has other data than this run began with: {report['other_data']}")
        if not lease.finish(json.dumps(report)):
            self.tally.lost += 1
            self._say(f"{job['job']}: another worker has taken it over; what was done here is dropped")
            return
        failed = report["status"] in ("failed", "lost", "oom")
        self.tally.failed += failed
        self.tally.done += not failed
        self._say(f"{job['job']}: {report['status']}" + (f": {report.get('message')}" if failed else ""))

    # --- around it ------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Give signs of life, in a thread of its own."""
        while True:
            lease = self._lease
            seconds = SILENCE if lease is None else min(lease.ticket.seconds, SILENCE)
            if self._over.wait(min(seconds / BEATS, 1.0 if lease is None else 5.0)):
                return
            self._jobs.beat()
            if lease is not None and lease is self._lease and not lease.beat() and lease is self._lease:
                self._lost.set()

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.close(grace=0)
            self._child = None
        self._ended = SimpleQueue()


def exchange(study: str, say: Callable[[str], None] = lambda line: None) -> Path | Exchange:
    """Return where the jobs of a study are exchanged: in its folder, or in the store that a URL names."""
    if not is_url(study):
        return Path(study).absolute()
    from ablate.execute.store_worker import StoreExchange

    return StoreExchange(study, say)


def moved(value: Any, before: str, now: str) -> Any:
    """Return JSON whose paths below one folder lead to another, under which this machine has it."""
    if before == now:
        return value
    if isinstance(value, str):
        return now + value[len(before) :] if value == before or value.startswith(before.rstrip("/") + "/") else value
    if isinstance(value, dict):
        return {key: moved(item, before, now) for key, item in value.items()}
    return [moved(item, before, now) for item in value] if isinstance(value, list) else value


def _other_source(changes: list[Any]) -> str:
    names = ", ".join(
        f"{change['component']} ({'missing' if change['found'] is None else 'other source'})" for change in changes
    )
    return f"{_host()} has not the source that this run began with: {names}; bring it to the driver's state"


def _host() -> str:
    return socket.gethostname()


def main() -> None:
    """Run a worker that belongs to a driver, and ends with it: `python -c CODE PATH REQUEST DRIVER`."""
    import signal

    from ablate.execute.child import SIGNALS

    request, driver = json.loads(sys.argv[2]), int(sys.argv[3])
    worker = JoinedWorker(exchange(request["study"]), request["threads"], wait=float("inf"))
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal's Ctrl-C is the driver's to heed
    signal.signal(signal.SIGTERM, lambda number, frame: worker.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    end_with(driver)
    try:
        worker.run()
    except (InputError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(2)
    os._exit(0)
