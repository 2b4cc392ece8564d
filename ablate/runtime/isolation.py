"""Isolation of trials: the global state of the process is saved before a component's code runs, and restored.

A default dtype, a seed or a folder that one trial sets would reach the next trial of the same worker.
So every job runs in `isolated()`, and whoever changes such a state fails by himself: `Before.check`
raises GlobalStateError, which names the state, what it was, and the line that changed it.

Nothing here imports torch or numpy: what is theirs is looked at where they are imported already.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from ablate.errors import InputError
from ablate.runtime.states import ENVIRONMENT, FOLDER, GlobalState, Seed, main_states, numpy_states, python_states
from ablate.spec.explain import exception_summary, is_foreign

LOCATE_SECONDS = 5.0  # that the search for a culprit's line may take
SHOWN = 80  # characters of a value in a message


class GlobalStateError(InputError):
    """A component changed global state of the process, which would have affected other trials."""


@dataclass(frozen=True)
class Change:
    """A change of a global state."""

    state: GlobalState
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.state.name} was {self.before} and is {self.after}; instead, {self.state.instead}"


class Before:
    """A snapshot of the process's global state. Random states count as changed only where somebody seeded them.

    restored_outside: an `isolated()` around it restores what components may change, so that is not looked at.
    """

    def __init__(self, restored_outside: bool = False) -> None:
        self._modules, self._value, self._seeds = len(sys.modules), Seed.value, Seed.count
        looked_at = (s for s in states() if s.instead is not None or not restored_outside)
        self._saved = {state.name: _read(state) for state in looked_at}

    def changes(self) -> list[Change]:
        """Return the changes since the snapshot that a component must not make."""
        moved = [(s, *s.describe(value, now)) for s, value, now in self._changed_states()]
        return [Change(state, _short(before), _short(after)) for state, before, after in moved]

    def on_import(self) -> list[Change]:
        """Undo and return the changes that an import must not make. Libraries add to the environment, and may seed."""
        changes = []
        for state, value, now in list(self._changed_states()):
            if state.seeded is None and state.name != ENVIRONMENT:
                changes.append(Change(state, *map(_short, state.describe(value, now))))
                with contextlib.suppress(Exception):
                    state.write(value)
        return changes

    def restore(self) -> None:
        """Restore everything, the random states too."""
        Seed.value, Seed.count = self._value, self._seeds
        for state in states():
            before = self._saved.get(state.name, state.fresh)
            if before is None or before is UNREADABLE:
                continue
            if state.seeded is not None or (not state.stays(before) and state.differs(before, _read(state))):
                with contextlib.suppress(Exception):  # a folder that is gone, a limit that is too low here
                    state.write(before)

    def check(self, doing: str, again: Callable[[], object] | None = None) -> None:
        """Raise GlobalStateError where something is changed, with everything put back.

        doing: who does what, such as "backbone 'dit', while it is built,". again: does the same once more,
        to find the line.
        """
        changes = self.changes()
        if changes:
            self.restore()
            place = None if again is None else locate(again, changes[0].state)
            self.restore()
            raise GlobalStateError(message(doing, changes, place))

    def check_failed(self, doing: str, error: Exception) -> None:
        """Raise GlobalStateError, caused by the exception, where something is changed; otherwise return."""
        if not isinstance(error, GlobalStateError) and (changes := self.changes()):
            self.restore()
            raise GlobalStateError(f"{message(doing, changes, None)}; then: {exception_summary(error)}") from error

    def _changed_states(self) -> Iterator[tuple[GlobalState, Any, Any]]:
        """Yield the protected states that were changed, by others than ablate's own seed."""
        for state in states():
            if state.instead is None:
                continue
            before = self._saved.get(state.name, state.fresh)  # fresh: its library was imported meanwhile
            value = _expected(state, before, self._seeds)
            if value is None or value is UNREADABLE or state.stays(value):
                continue
            now = _read(state)
            if now is UNREADABLE:
                if state.name == FOLDER:
                    yield state, value, "a folder that is gone"
                continue
            if state.name == ENVIRONMENT and len(sys.modules) > self._modules:
                # What a library adds when it is imported belongs to it, and stays as long as it does.
                value = {**{name: text for name, text in now.items() if name not in value}, **value}
            if state.differs(value, now):
                yield state, value, now


@contextlib.contextmanager
def isolated() -> Iterator[Before]:
    """Restore the global state after a `with`, the random states too."""
    before = Before()
    try:
        yield before
    finally:
        before.restore()


class Watch:
    """Looks after pieces of work one after another; one snapshot serves all, as each leaves everything as it was.

    They are parts of a job, which runs in `isolated()`.
    """

    def __init__(self) -> None:
        self._before = Before(restored_outside=True)

    @contextlib.contextmanager
    def over(self, doing: str, again: Callable[[], object] | None = None) -> Iterator[None]:
        """Raise GlobalStateError where the code inside changes what is global; also where it fails on that."""
        try:
            yield
        except Exception as error:
            self._before.check_failed(doing, error)
            raise
        self._before.check(doing, again)


def watched(doing: str, again: Callable[[], object] | None = None) -> AbstractContextManager[None]:
    """Look after one piece of work of a job; see `Watch.over`."""
    return Watch().over(doing, again)


def message(doing: str, changes: list[Change], place: str | None) -> str:
    """Format the message of an error: each change, and where the first was made."""
    at = f" (at {place})" if place else ""
    sentences = "; ".join(map(str, changes))
    return f"{doing} changes what is global for the process{at}: {sentences}"


@contextlib.contextmanager
def staying() -> Iterator[None]:
    """Make `os._exit` and `os.abort` raise SystemExit within a `with`: a component may not end the process."""

    def stay(status: int = 134) -> NoReturn:
        raise SystemExit(status)

    originals = os._exit, os.abort
    os._exit = os.abort = stay
    try:
        yield
    finally:
        os._exit, os.abort = originals


# --- where it was done ------------------------------------------------------------------------------


def locate(action: Callable[[], object], state: GlobalState) -> str | None:
    """Find the line of a plugin's own code that changes the state: `file:line, in function`.

    The action is done once more for that; None where it does not do it again.
    """
    if sys.getprofile() is not None:  # a profiler of the user's is at work
        return None
    before, seeds, until = _read(state), Seed.count, time.monotonic() + LOCATE_SECONDS
    places: list[str] = []

    def look(frame: FrameType, event: str, arg: Any) -> None:
        if places or time.monotonic() > until or (state.seeded is not None and Seed.busy):
            return
        if state.differs(_expected(state, before, seeds), _read(state)):
            places.append(_place(frame))

    sys.setprofile(look)
    try:
        action()
    except Exception:  # noqa: BLE001 - it has failed already; what is asked here is where
        pass
    finally:
        sys.setprofile(None)
    return places[0] if places and places[0] else None


def _place(frame: FrameType | None) -> str:
    while frame is not None and not own_code(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return ""
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_qualname}"
    owner: Any = frame.f_locals.get("self")
    if isinstance(getattr(owner, "kind", None), str) and isinstance(getattr(owner, "name", None), str):
        place += f" of {owner.kind} {owner.name!r}"
    return place


def own_code(file: str) -> bool:
    """Return whether a frame's file is a plugin's: no library's, and none of ablate's own."""
    return not (is_foreign(file) or f"{os.sep}site-packages{os.sep}numpy{os.sep}" in file)


# --- taking turns in one process --------------------------------------------------------------------


class Turns:
    """A lock for two threads that run components' code in one process: a job, and the driver that counts a candidate.

    The job holds the turn, and lets another have it between two steps.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._mutex = threading.Lock()
        self._worker: int | None = None  # the thread that holds it for a job
        self._waiting = threading.Event()
        self._handed_over = threading.Event()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the turn for a job. Where another job is at work in this process already, this one takes none."""
        with self._mutex:
            first = self._worker is None
            if first:
                self._worker = threading.get_ident()
        if not first:
            yield
            return
        try:
            with self._lock:
                yield
        finally:
            self._worker = None

    def pause(self) -> None:
        """Yield the turn between two steps of a job, if the other thread waits."""
        if self._waiting.is_set() and self._worker == threading.get_ident():
            self._handed_over.clear()
            self._lock.release()
            try:
                self._handed_over.wait(0.2)  # it takes the lock at once, and this one then waits for its end
            finally:
                self._lock.acquire()

    @contextlib.contextmanager
    def between(self, patience: float) -> Iterator[bool]:
        """Take a turn between two steps of a job, within `patience` seconds; give whether it came."""
        self._waiting.set()
        came = self._lock.acquire(timeout=patience)
        self._waiting.clear()
        self._handed_over.set()
        try:
            yield came
        finally:
            if came:
                self._lock.release()


TURNS = Turns()


UNREADABLE = object()


def states() -> tuple[GlobalState, ...]:
    """Return all global states that can be read now without importing anything."""
    readable = python_states()
    if threading.current_thread() is threading.main_thread():
        readable += main_states()  # another thread has no say in them, and the main thread moves them now and then
    if "numpy" in sys.modules and hasattr(sys.modules["numpy"], "random"):
        readable += numpy_states()
    if "torch" in sys.modules and hasattr(sys.modules["torch"], "nn"):
        from ablate.runtime.torch_states import torch_states

        readable += torch_states()
    return readable


def _expected(state: GlobalState, before: Any, seeds: int) -> Any:
    """Return what a state should be: what it was, or what ablate's own seed made of it since there were `seeds`."""
    if state.seeded is not None and Seed.count != seeds and Seed.value is not None:
        return state.seeded(Seed.value)
    return before


def _read(state: GlobalState) -> Any:
    try:
        return state.read()
    except Exception:  # noqa: BLE001 - such as a current folder that was removed
        return UNREADABLE


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
