"""Jobs in a study's folder, each held by one worker at a time, whatever machines share the folder.

A job is a folder with a ticket (what is to be run) and the trial's own folder. It moves, always by one renaming:

    workers/waiting/JOB,N ──► workers/held/JOB,N@WORKER ──► workers/ended/JOB,N ──► trials/TRIAL

Who renames it has it, so two never hold one job. A holder touches the ticket (a heartbeat); a lease whose ticket has
not changed for too long goes back to `waiting`, with N, the number of holders that were lost, one more. A holder that
was only stopped and goes on then writes to paths that are gone: nothing that it writes can reach the trial, and it
finds that out by its next heartbeat (leases: Gray & Cheriton 1989).
`trials/TRIAL` is a link to the trial's folder meanwhile; only a driver moves it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ablate.io.files import read_json, write_json

FOLDER = "workers"  # in the study's folder
TICKET, REPORT, CANCEL, STOP = "ticket.json", "report.json", "cancel.json", "stop"
CLOSING = "closing"  # while a driver takes everything back: nobody takes a job
LOSSES = 5  # holders that a job may lose before it counts as lost for good
SCHEMA = 1
LONGEST = 3600.0  # seconds of a lease, at the most
_numbers = itertools.count()  # of this process's leases: none has the place of an earlier one


@dataclass(frozen=True)
class Ticket:
    """What is to be run.

    seconds: without a heartbeat after which its lease is taken over. memory: bytes that it may have resident.
    """

    job: Mapping[str, Any]
    work: str  # module:function
    study: str  # the study's folder, as the driver calls it
    trial: str | None  # the trial's folder below `trials`, which moves with the job; None: nothing moves
    seconds: float
    memory: int | None = None

    def write(self, place: Path) -> None:
        """Write it into the job's folder."""
        write_json(place / TICKET, {"schema": SCHEMA, **vars(self)}, durable=False)

    @classmethod
    def read(cls, place: Path) -> Ticket | None:
        """Read that of a job's folder; None where there is none (any more)."""
        try:
            content = read_json(place / TICKET)
            if content.pop("schema") == SCHEMA:
                return cls(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass
        return None


class Observer:
    """Knows for how long files have not changed, by this machine's clock: those of others may differ."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int | None, float]] = {}

    def age(self, file: Path) -> float:
        """Return the seconds since the file was first looked at, or was seen to change."""
        now, mark = self._clock(), _mark(file)
        before = self._seen.get(str(file))
        if before is None or before[0] != mark:
            self._seen[str(file)] = (mark, now)
            return 0.0
        return now - before[1]

    def forget(self, keep: Callable[[str], bool]) -> None:
        """Forget the files that are not to be kept in mind."""
        self._seen = {file: seen for file, seen in self._seen.items() if keep(file)}


class Lease:
    """A job that this process holds. place: its folder, below `held`."""

    def __init__(self, jobs: Jobs, key: str, place: Path, ticket: Ticket) -> None:
        self.ticket = ticket
        self.place = place
        self._jobs = jobs
        self._key = key

    @property
    def losses(self) -> int:
        """How many holders before this one were lost."""
        return _losses(self._key)

    def beat(self) -> bool:
        """Give a sign of life; False where the lease was taken over."""
        try:
            os.utime(self.place / TICKET)
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # a disk that is slow is no loss
        return True

    def cancelled(self) -> str | None:
        """Return why the driver wants the job to be killed; None where it does not."""
        try:
            return str(read_json(self.place / CANCEL)["why"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stopping(self) -> bool:
        """Return whether the driver wants the job to stop and to be put back."""
        return (self.place / STOP).exists()

    def finish(self, report: str) -> bool:
        """Hand in the report; False where the lease was taken over, and nothing is handed in."""
        return self.beat() and _put(self.place / REPORT, report) and self._move(self._jobs.ended / self._key)

    def release(self) -> bool:
        """Put the job back for others; False where the lease was taken over."""
        return self.beat() and self._move(self._jobs.waiting / self._key)

    def drop(self) -> None:
        """Nothing is left here of a job that has moved on."""

    def _move(self, target: Path) -> bool:
        try:
            self.place.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ESTALE):
                raise
            return False
        return True


class Jobs:
    """The jobs of a study's folder."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self.root = study / FOLDER
        self.trials = study / "trials"
        self.waiting, self.held, self.ended, self.moving, self.present, self.refused = (
            self.root / name for name in ("waiting", "held", "ended", "moving", "present", "refused")
        )

    def create(self) -> None:
        """Create the folders, where they are not there."""
        for folder in (self.waiting, self.held, self.ended, self.moving, self.present, self.refused, self.trials):
            folder.mkdir(parents=True, exist_ok=True)

    # --- workers --------------------------------------------------------------------------------------

    def claim(self, worker: str, accept: Callable[[Ticket], bool] = lambda ticket: True) -> Lease | None:
        """Take a job that waits; None where there is none that is accepted, or others were faster."""
        if (self.root / CLOSING).exists():
            return None
        for key in sorted(_names(self.waiting)):
            ticket = Ticket.read(self.waiting / key)
            if ticket is None or not accept(ticket):
                continue
            place = self.held / f"{key}@{worker}.{next(_numbers)}"
            with contextlib.suppress(FileNotFoundError):  # another was faster; or a network's file system asked twice
                (self.waiting / key).rename(place)
            lease = Lease(self, key, place, ticket)
            if not lease.beat():
                continue
            for name in (CANCEL, STOP, REPORT):
                (place / name).unlink(missing_ok=True)
            if ticket.trial is not None:  # a holder that was stopped may have it still
                (place / ticket.trial / ".lock").unlink(missing_ok=True)
            return lease
        return None

    def reap(self, observer: Observer, dead: Callable[[str], bool] = lambda worker: False) -> list[str]:
        """Take over the leases of workers that give no sign of life, or are known to be dead; return their jobs.

        The jobs wait again; one that has lost too many holders has ended.
        """
        found = []
        for name in _names(self.held):
            key, _, worker = name.partition("@")
            place = self.held / name
            ticket = Ticket.read(place)
            age = observer.age(place if ticket is None else place / TICKET)
            if ticket is None:
                if age > LONGEST and not (place / TICKET).exists():  # what a stopped worker wrote when it went on
                    shutil.rmtree(place, ignore_errors=True)
                continue
            if age < ticket.seconds and not dead(worker.rpartition(".")[0]):
                continue
            job, losses = _job(key), _losses(key) + 1
            again = f"{quote(job, safe='')},{losses}"
            with contextlib.suppress(OSError):
                if losses <= LOSSES:
                    place.rename(self.waiting / again)
                else:
                    place.rename(self.moving / again)  # its report first, then it has ended
                    report = {"status": "lost", "message": f"{losses} workers in turn were lost with it", "job": job}
                    _put(self.moving / again / REPORT, json.dumps(report))
                    (self.moving / again).rename(self.ended / again)
                found.append(job)
        observer.forget(lambda file: os.path.exists(file))  # noqa: PTH110 - hundreds of them
        return found

    # --- the driver -----------------------------------------------------------------------------------

    def post(self, ticket: Ticket) -> None:
        """Put up a job, with the trial's folder, whose place a link takes."""
        key = f"{quote(str(ticket.job['job']), safe='')},0"
        place = self.moving / uuid.uuid4().hex
        self.create()  # the last worker of an earlier driver removes them
        place.mkdir()
        ticket.write(place)
        if ticket.trial is not None:
            trial = self.trials / ticket.trial
            if trial.is_symlink():
                trial.unlink()
            try:
                trial.rename(place / ticket.trial)
            except FileNotFoundError:
                (place / ticket.trial).mkdir()
        place.rename(self.waiting / key)
        self.link(self.waiting / key, ticket)

    def link(self, place: Path, ticket: Ticket) -> None:
        """Let `trials/TRIAL` lead to where the trial is now, where links can be made."""
        if ticket.trial is None:
            return
        link, target = self.trials / ticket.trial, os.path.relpath(place / ticket.trial, self.trials)
        with contextlib.suppress(OSError):
            if link.is_symlink() and os.readlink(link) == target:  # noqa: PTH115 - a text is compared
                return
            temporary = self.trials / f".{ticket.trial}.{uuid.uuid4().hex}.tmp"
            temporary.symlink_to(target)
            try:
                temporary.rename(link)
            finally:
                temporary.unlink(missing_ok=True)

    def link_held(self) -> None:
        """Let the links of all jobs that are held lead to their holders' folders."""
        for _, place in self.places():
            if (ticket := Ticket.read(place)) is not None:
                self.link(place, ticket)

    def find(self, job: str) -> tuple[Path, Ticket] | None:
        """Return where a job is, and its ticket; None where it is nowhere."""
        prefix = f"{quote(job, safe='')},"
        for _ in range(3):  # it moves forward in this order, and backward only once in a while
            for folder in (self.waiting, self.held, self.ended):
                for name in _names(folder):
                    if name.startswith(prefix) and (ticket := Ticket.read(folder / name)) is not None:
                        return folder / name, ticket
        return None

    def places(self) -> Iterator[tuple[str, Path]]:
        """Yield the jobs that are held, with their folders."""
        for name in _names(self.held):
            yield _job(name.partition("@")[0]), self.held / name

    def reports(self) -> Iterator[tuple[str, str]]:
        """Yield job and report, JSON text, of what has ended; the trial's folder is in its place again then."""
        for key in sorted(_names(self.ended)):
            place = self.ended / key
            try:
                report = (place / REPORT).read_text(encoding="utf-8")
            except OSError:
                report = None
            self.take_back(place)
            if report is not None:
                yield _job(key), report

    def take_back(self, place: Path) -> bool:
        """Put the trial of a job that nobody holds any more into its place again; False where it is gone from there.

        place: the job's folder. The job is then no more.
        """
        gone = self.moving / f"{uuid.uuid4().hex}"
        try:
            place.rename(gone)
        except OSError:
            return False
        self._unpack(gone)
        return True

    def _unpack(self, place: Path) -> None:
        for name in _names(place):
            inner = place / name
            if inner.is_dir():
                target = self.trials / name
                if target.is_symlink():
                    target.unlink()
                elif target.exists():  # made meanwhile, by whom ever: what the worker has is the trial
                    target.rename(self.moving / f"{uuid.uuid4().hex}.aside")
                inner.rename(target)
        shutil.rmtree(place, ignore_errors=True)

    def recall(self) -> None:
        """Take back all that an earlier driver left and no worker holds. Only the folder's one driver may do so."""
        for name in _names(self.moving):
            if not name.endswith(".aside"):
                self._unpack(self.moving / name)
        for folder in (self.waiting, self.ended):
            for key in _names(folder):
                self.take_back(folder / key)
        self.link_held()
        for name in _names(self.trials):
            link = self.trials / name
            if link.is_symlink() and not link.exists():
                link.unlink()

    def cancel(self, place: Path, why: str) -> None:
        """Tell a job's holder to kill it."""
        _put(place / CANCEL, json.dumps({"why": why}))

    def stop(self, place: Path) -> None:
        """Tell a job's holder to stop it and to put it back."""
        _put(place / STOP, "")

    def clear(self) -> None:
        """Remove the folders, where nothing is in them."""
        for folder in (self.waiting, self.held, self.ended, self.moving, self.present, self.refused, self.root):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _put(file: Path, text: str) -> bool:
    """Write a file whole into a folder that exists; False where it does not (any more)."""
    temporary = f"{file}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "x", encoding="utf-8") as stream:  # noqa: PTH123 - as `ablate.io.files`
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)  # noqa: PTH105
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            raise
        return False
    return True


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - ten times a second
    except FileNotFoundError:
        return []


def _job(key: str) -> str:
    return unquote(key.rpartition(",")[0])


def _losses(key: str) -> int:
    text = key.rpartition(",")[2]
    return int(text) if text.isdigit() else 0


def _mark(file: Path) -> int | None:
    """Return a file's time; by opening it, so that a network's file system asks its server."""
    try:
        handle = os.open(file, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.fstat(handle).st_mtime_ns
    finally:
        os.close(handle)
