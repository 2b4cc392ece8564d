"""The one driver of a study in a store: who it is stands in a log there, and what it writes here goes up meanwhile."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ablate.errors import InputError
from ablate.execute import store_signs as signs
from ablate.execute.presence import SILENCE, is_gone
from ablate.execute.store_jobs import Observer, StoreJobs
from ablate.io.locks import is_locked
from ablate.io.mirror import Mirror, is_small
from ablate.io.stores import Object, Store, normal_url
from ablate.runtime.patient import doing
from ablate.runtime.stored import DRIVER, driver_folder

LOG = "workers/driver"  # numbered entries: each driver that begins, and each that ends in good order
PUSH_SECONDS = 5.0  # between two looks for what is to go up
SHARE = 10.0  # times as long as it took until the next look
T = TypeVar("T")
_current: dict[str, StoreDriver] = {}  # of this process, by folder


class StoreDriver:
    """A study's folder here, and its like in a store, of which this process is to be the only driver.

    Raises StoreError where the store cannot be reached, in one message.
    """

    def __init__(self, url: str, folder: Path, say: Callable[[str], None]) -> None:
        self.store = Store(url, say=say)
        self.folder = folder
        self.conditional = self.store.check()
        folder.mkdir(parents=True, exist_ok=True)
        self.mirror = Mirror(self.store, folder)
        self.jobs = StoreJobs(self.store)
        self.lock = threading.RLock()  # of the mirror
        self._say = say
        self._number = 0
        self._sign = signs.Sign(self.store, signs.DRIVER, run=uuid.uuid4().hex)
        self._over = threading.Event()
        self._problem: Exception | None = None

    def fetch(self) -> None:
        """Bring the study's files here, where another folder's driver was the last at work. Changes nothing there."""
        with self.lock, doing(f"reading {self.store.url}", 4):
            number, last = self._last()
            if number == 0 or last.get("seat") != self.mirror.seat:
                self.mirror.adopt(is_small)
            self.mirror.save()
            self._number = number

    @contextlib.contextmanager
    def driving(self) -> Iterator[None]:
        """Be the only driver within a `with`; at its end everything is there. Raises InputError where another one is.

        Without conditional writes nothing keeps two apart, which is told.
        """
        self._begin()
        _current[str(self.folder)] = self
        thread = threading.Thread(target=self._work, name="ablate-store", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            del _current[str(self.folder)]
            self._end()

    def networks(self) -> None:
        """Bring here what else there is, the networks: for trials that run here, and for those that move."""
        with self.lock, doing(f"reading the checkpoints of {self.store.url}", 4):
            self.mirror.pull()

    def watching(self, watch: Callable[[T], None] | None) -> Callable[[T], None]:
        """Return what looks at the progress as `watch` does, and ends the run where the store has failed."""

        def look(progress: T) -> None:
            self.check()
            if watch is not None:
                watch(progress)

        return look

    def check(self) -> None:
        """Raise what has happened meanwhile: the store cannot be reached, or another driver has taken over."""
        if self._problem is not None:
            raise self._problem

    def push(self, prefix: str = "") -> None:
        """Send up what is new, now."""
        with self.lock:
            self.mirror.push(prefix, self._guard)

    # --- within ---------------------------------------------------------------------------------------

    def _last(self) -> tuple[int, dict[str, Any]]:
        """Return the number of the log's last entry, and the entry; 0 where there is none."""
        numbers = [int(n) for name in self.store.listing(LOG) if (n := name.rpartition("/")[2]).isdigit()]
        content = signs.read(self.store, f"{LOG}/{max(numbers)}") if numbers else None
        return (max(numbers), content or {}) if numbers else (0, {})

    def _begin(self) -> None:
        number, last = self._last()
        if last and not last.get("ended") and last.get("seat") != self.mirror.seat:  # the folder's lock is ours
            self._wait_for(last)
        if not self.conditional:
            self._say(
                f"warning: {self.store.url} does not tell two apart that write one name: see to it that no second "
                "driver is at work there"
            )
        stale, self._number = number != self._number and last.get("seat") != self.mirror.seat, number + 1
        entry = {**signs.facts(), "seat": self.mirror.seat, "own": uuid.uuid4().hex}
        if not self._write(self._number, entry):
            raise InputError(f"another `ablate run` has just begun at {self.store.url}; see `ablate status`")
        self.store.remove(f"{LOG}/{n}" for n in range(max(1, number - 2), number))
        self._sign.beat()
        if stale:  # another was at work since `fetch`
            with self.lock:
                self.mirror.adopt(is_small)

    def _write(self, number: int, entry: dict[str, Any]) -> bool:
        text = json.dumps(entry).encode()
        if self.conditional:
            return self.store.create(f"{LOG}/{number}", text)
        self.store.write(f"{LOG}/{number}", text)
        return True

    def _wait_for(self, last: dict[str, Any]) -> None:
        """Wait until the last driver, which has not said that it ended, is known to be gone. Raises InputError."""
        refusal = InputError(
            f"another `ablate run` is at work at {self.store.url}, on host {last.get('host')} (process "
            f"{last.get('pid')}); see `ablate status {self.store.url}`"
        )
        gone = is_gone(last)
        if gone is False:
            raise refusal
        if gone:
            return
        observer, age = Observer(), 0.0
        with doing(f"seeing whether the driver on host {last.get('host')} is still at work", 0.2):
            while age < SILENCE:
                sign = self.store.listing("workers").get(signs.DRIVER, Object(0, ""))  # it may be about to write one
                before, age = age, observer.look({signs.DRIVER: sign}, SILENCE / 6)[signs.DRIVER]
                if age < before:
                    raise refusal
                time.sleep(1.0)

    def _guard(self) -> None:
        """Raise InputError where another driver has taken over."""
        if self.conditional and self._last()[0] != self._number:
            raise InputError(
                f"another `ablate run` has taken {self.store.url} over, as this one gave no sign of life; what was "
                "measured meanwhile counts there"
            )

    def _work(self) -> None:
        """Give signs of life, and send up what is new, in a thread of its own."""
        beaten, pause = time.monotonic(), PUSH_SECONDS
        while not self._over.wait(pause):
            try:
                begun = time.monotonic()
                self.push()
                pause = min(max(PUSH_SECONDS, SHARE * (time.monotonic() - begun)), signs.BEAT_SECONDS)
                if time.monotonic() - beaten >= signs.BEAT_SECONDS - 1:
                    beaten = time.monotonic()
                    self._guard()
                    self._sign.beat()
            except Exception as error:  # noqa: BLE001 - the driver's own thread raises it
                self._problem = error
                return

    def _end(self) -> None:
        self.check()  # nothing more may be written there
        self.push()
        self._write(self._number + 1, {**signs.facts(), "seat": self.mirror.seat, "ended": True})
        self._sign.end()


def stored_driver(url: str, say: Callable[[str], None]) -> StoreDriver:
    """Return who is to drive the study at a URL from this machine. Raises InputError where another process does."""
    url = normal_url(url)
    folder = driver_folder(url)
    if is_locked(folder / DRIVER):
        raise InputError(f"another `ablate run` is at work at {url}; see `ablate status {url}`")
    return StoreDriver(url, folder, say)


def driver_at(folder: Path) -> StoreDriver | None:
    """Return who drives the study of a folder for a store, in this process; None where the folder is the study's."""
    return _current.get(str(folder))
