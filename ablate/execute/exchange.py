"""Where a worker that joins finds its jobs: in a study's folder, or in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ablate.execute import presence
from ablate.execute.leases import Jobs, Lease, Observer, Ticket
from ablate.io.files import read_json

ENDED = "ended.json"  # in the study's folder while nothing is left to do
PREPARE = "prepare.json"  # in the jobs' folder: the job that makes what all trials share


class Held(Protocol):
    """A job that a worker holds. place: the folder of what moves with it."""

    ticket: Ticket
    place: Path

    def beat(self) -> bool:
        """Give a sign of life; False where it is another's by now."""

    def cancelled(self) -> str | None:
        """Return why the driver wants the job to be killed; None where it does not."""

    def stopping(self) -> bool:
        """Return whether the driver wants the job to stop and to be put back."""

    def finish(self, report: str) -> bool:
        """Hand in the report; False where it is another's by now."""

    def release(self) -> bool:
        """Put the job back for others; False where it is another's by now."""

    def drop(self) -> None:
        """Take note that this worker has no more to do with it."""


class Exchange(Protocol):
    """The jobs of a study, as one worker sees them. study: the folder below which it has the study's files."""

    study: Path

    def join(self) -> None:
        """Begin to give signs of life."""

    def beat(self) -> None:
        """Give a sign of life."""

    def leave(self) -> None:
        """Say that this worker is gone."""

    def claim(self) -> Held | None:
        """Take a job that waits; None where there is none. Takes over what dead workers held, where there is none."""

    def finished(self) -> bool:
        """Return whether nothing is left to do, and nobody holds a job."""

    def alone(self) -> bool:
        """Return whether no driver is there; one that is away may come back."""

    def driver(self) -> dict[str, Any] | None:
        """Return what the driver says of itself; None where there is none."""

    def preparation(self) -> dict[str, Any]:
        """Return the job that makes what all trials share. Raises OSError where there is none."""

    def refuse(self, why: str) -> None:
        """Leave word for the driver that this worker does not take part, and why."""


class FolderExchange:
    """The jobs in a study's folder."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self._jobs = Jobs(study)
        self._observer = Observer()
        self._presence: presence.Presence | None = None

    def join(self) -> None:
        """See `Exchange`."""
        self._presence = presence.Presence(self._jobs)

    def beat(self) -> None:
        """See `Exchange`."""
        if self._presence is not None:
            self._presence.beat()

    def leave(self) -> None:
        """See `Exchange`."""
        if self._presence is not None:
            self._presence.end()

    def claim(self) -> Lease | None:
        """See `Exchange`."""
        assert self._presence is not None
        self._jobs.create()  # a driver that ended may have removed them
        if (lease := self._jobs.claim(self._presence.name)) is None and not self.finished():
            self._jobs.reap(self._observer, lambda worker: presence.is_dead(self._jobs, worker))
        return lease

    def finished(self) -> bool:
        """See `Exchange`."""
        return (self.study / ENDED).exists() and not any(self._jobs.places())

    def alone(self) -> bool:
        """See `Exchange`."""
        file = self._jobs.root / presence.DRIVER
        silent = not file.exists() or self._observer.age(file) > presence.SILENCE
        return silent and not any(self._jobs.places())

    def driver(self) -> dict[str, Any] | None:
        """See `Exchange`."""
        return presence.driver_of(self._jobs)

    def preparation(self) -> dict[str, Any]:
        """See `Exchange`."""
        return dict(read_json(self._jobs.root / PREPARE))

    def refuse(self, why: str) -> None:
        """See `Exchange`."""
        presence.refuse(self._jobs, why)
