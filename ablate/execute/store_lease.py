"""A job of a store that this process holds: its files here, what goes up meanwhile, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.execute.store_jobs import ENDED, FILES, Standing, StoreJobs, local_files
from ablate.io.stores import StoreError, sameness

SAVE_SECONDS = 5.0  # between two looks for a new checkpoint
ASK_SECONDS = 2.0  # between two looks for an order
CHECKPOINTS = "checkpoint/"


class StoreLease:
    """A job that this worker holds. place: its folder here, with the trial's own in it, if it has one.

    What the trial has saved goes up at once: a new checkpoint is one more entry of the job's log, from which another
    worker goes on.
    """

    def __init__(self, jobs: StoreJobs, standing: Standing, number: int, worker: str, place: Path) -> None:
        self.ticket = standing.ticket
        self.place = place
        self.losses = standing.losses
        self.name = standing.name
        self._jobs = jobs
        self._number = number
        self._worker = worker
        self._files = standing.files
        self._sent: dict[str, str] = {}  # what changes when a file does, of those that are in the store as they are
        self._lost = threading.Event()
        self._writing = threading.Lock()  # one entry after the other
        self._over = threading.Event()
        self._asked = float("-inf")
        self._order: dict[str, Any] = {}
        self._saver: threading.Thread | None = None

    def begin(self) -> None:
        """Bring the trial's files here, and begin to save what is new of them."""
        if self.ticket.trial is None:
            return
        folder = self.place / self.ticket.trial
        folder.mkdir(parents=True, exist_ok=True)
        self._jobs.store.download({key: folder / name for name, key in self._files.items()})
        self._sent = {name: sameness(file) for name, file in local_files(folder).items() if name in self._files}
        self._saver = threading.Thread(target=self._save, name="ablate-save", daemon=True)
        self._saver.start()

    # --- what a worker asks ---------------------------------------------------------------------------

    def beat(self) -> bool:
        """Return whether it is still this worker's."""
        if not self._lost.is_set() and not self._writing.locked():
            number = self._number
            with contextlib.suppress(StoreError):  # a store that is away takes nothing away
                if not self._jobs.is_last(self.name, number):
                    with self._writing:  # the next entry may be one of our own that is just written
                        if number == self._number:
                            self._lost.set()
        return not self._lost.is_set()

    def cancelled(self) -> str | None:
        """Return why the driver wants the job to be killed; None where it does not."""
        return self._ordered().get("cancel")

    def stopping(self) -> bool:
        """Return whether the driver wants the job to stop and to be put back."""
        return bool(self._ordered().get("stop"))

    def finish(self, report: str) -> bool:
        """Hand in the report, after all files; False where the job is another's by now, and nothing is handed in."""
        return self._end({"kind": ENDED, "report": json.loads(report)})

    def release(self) -> bool:
        """Put the job back for others, with what was saved; False where it is another's by now."""
        return self._end({"kind": "released"})

    def drop(self) -> None:
        """Remove what is here of it."""
        self._over.set()
        if self._saver is not None:
            self._saver.join()
        shutil.rmtree(self.place, ignore_errors=True)

    def _ordered(self) -> dict[str, Any]:
        if (now := time.monotonic()) - self._asked >= ASK_SECONDS:
            self._asked = now
            with contextlib.suppress(StoreError):
                self._order = self._jobs.ordered(self.name)
        return self._order

    # --- what goes up ---------------------------------------------------------------------------------

    def _save(self) -> None:
        """Save new checkpoints, in a thread of its own, until the job ends."""
        while not self._over.wait(SAVE_SECONDS):
            folder = self.place / str(self.ticket.trial)
            now = {name: sameness_or_none(file) for name, file in local_files(folder).items()}
            checkpoints = {name: same for name, same in now.items() if name.startswith(CHECKPOINTS)}
            if not checkpoints or all(self._sent.get(name) == same for name, same in checkpoints.items()):
                continue
            with contextlib.suppress(StoreError):  # it is tried again; and the end says what is wrong
                self._append({"kind": "saved"})

    def _end(self, entry: Mapping[str, Any]) -> bool:
        self._over.set()
        if self._saver is not None:
            self._saver.join()
            self._saver = None
        done = self._append(entry)
        if done:
            self._lost.set()  # it is no longer this worker's
        return done

    def _append(self, entry: Mapping[str, Any]) -> bool:
        """Send what is new, and append an entry that names it; False where the job is another's by now."""
        with self._writing:
            if self._lost.is_set():
                return False
            files, sent = self._send()
            before = set(self._files.values())
            content = {**entry, "worker": self._worker, "losses": self.losses, "files": files}
            if not self._jobs.append(self.name, self._number + 1, content):
                self._lost.set()
                return False
            self._number += 1
            self._files, self._sent = files, sent
            own = f"{FILES}/{self.name}/"
        self._jobs.store.remove(key for key in before - set(files.values()) if key.startswith(own))
        return True

    def _send(self) -> tuple[dict[str, str], dict[str, str]]:
        """Send the trial's files that are new, all of one moment; return what it consists of, and what is there."""
        if self.ticket.trial is None:
            return {}, {}
        with _moment(self.place / self.ticket.trial) as still:
            files: dict[str, str] = {}
            sent = {name: sameness(file) for name, file in still.items()}
            for name in still:
                if self._sent.get(name) == sent[name]:
                    files[name] = self._files[name]
                else:
                    files[name] = f"{FILES}/{self.name}/{uuid.uuid4().hex}-{name.rpartition('/')[2]}"
            new = {files[name]: file for name, file in still.items() if self._sent.get(name) != sent[name]}
            self._jobs.store.upload(new)
        return files, sent


@contextlib.contextmanager
def _moment(folder: Path) -> Any:
    """Give the files of a folder as they are at one moment, by links: each is replaced whole, and never changed."""
    still = folder.parent / f".moment-{uuid.uuid4().hex}"
    try:
        for _ in range(20):
            before = {name: sameness_or_none(file) for name, file in local_files(folder).items()}
            links: dict[str, Path] = {}
            for name in before:
                link = still / name
                link.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    os.link(folder / name, link)
                    links[name] = link
            if {name: sameness_or_none(link) for name, link in links.items()} == before and before == {
                name: sameness_or_none(file) for name, file in local_files(folder).items()
            }:
                break
            shutil.rmtree(still, ignore_errors=True)
        yield links
    finally:
        shutil.rmtree(still, ignore_errors=True)


def sameness_or_none(file: Path) -> str | None:
    """Return a text that changes when a file does; None where there is none."""
    try:
        return sameness(file)
    except OSError:
        return None
