"""What is global for a process: remembered before a component's code runs, compared afterwards, and put back.

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
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from ablate.errors import InputError
from ablate.runtime.states import ENVIRONMENT, FOLDER, Seed, State, main_states, numpy_states, python_states
from ablate.spec.explain import blamed, foreign

LOCATE_SECONDS = 5.0  # that the search for a culprit's line may take
SHOWN = 80  # characters of a value in a message


class GlobalStateError(InputError):
    """A component changed what is global for the process, which would have reached other trials."""


@dataclass(frozen=True)
class Change:
    """A state that is not what it was."""

    state: State
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.state.name} was {self.before} and is {self.after}; instead, {self.state.instead}"


class Before:
    """The global state as it is now. Random states count as changed only where somebody seeded them anew."""

    def __init__(self) -> None:
        self._modules, self._value, self._seeds = len(sys.modules), Seed.value, Seed.count
        self._held = {state.name: _read(state) for state in states()}

    def changes(self) -> list[Change]:
        """What a component must not have changed, and has."""
        found = [(s, *s.told(value, now)) for s, value, now in self._moved()]
        return [Change(state, _short(before), _short(after)) for state, before, after in found]

    def on_import(self) -> list[Change]:
        """What an import must not have changed, and has; put back. Libraries add to the environment, and may seed."""
        found = []
        for state, value, now in list(self._moved()):
            if state.seeded is None and state.name != ENVIRONMENT:
                found.append(Change(state, *map(_short, state.told(value, now))))
                with contextlib.suppress(Exception):
                    state.write(value)
        return found

    def restore(self) -> None:
        """Put everything back, the random states too."""
        Seed.value, Seed.count = self._value, self._seeds
        for state in states():
            if (held := self._held.get(state.name, state.fresh)) is not None and held is not UNREADABLE:
                now = _read(state)
                if state.seeded is not None or state.differs(held, now):
                    with contextlib.suppress(Exception):  # a folder that is gone, a limit that is too low here
                        state.write(held)

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
        """The same behind an exception: where something is changed, that is told, with the exception as its end."""
        if not isinstance(error, GlobalStateError) and (changes := self.changes()):
            self.restore()
            raise GlobalStateError(f"{message(doing, changes, None)}; then: {blamed(error)}") from error

    def _moved(self) -> Iterator[tuple[State, Any, Any]]:
        """States that nobody may change and that are not what they were, or what ablate's own seed made of them."""
        for state in states():
            if state.instead is None:
                continue
            held = self._held.get(state.name, state.fresh)  # fresh: its library was imported meanwhile
            value = _expected(state, held, self._seeds)
            if value is None or value is UNREADABLE:
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
    """Whatever happens inside, everything is as before afterwards, the random states too."""
    before = Before()
    try:
        yield before
    finally:
        before.restore()


@contextlib.contextmanager
def watched(doing: str, again: Callable[[], object] | None = None) -> Iterator[None]:
    """Raise GlobalStateError where the code inside changes what is global; also where it fails on that."""
    before = Before()
    try:
        yield
    except Exception as error:
        before.check_failed(doing, error)
        raise
    before.check(doing, again)


def message(doing: str, changes: list[Change], place: str | None) -> str:
    """One sentence for each change, and where the first was made."""
    at = f" (at {place})" if place else ""
    told = "; ".join(map(str, changes))
    return f"{doing} changes what is global for the process{at}: {told}"


@contextlib.contextmanager
def staying() -> Iterator[None]:
    """Inside, a component that would end the process at once (`os._exit`, `os.abort`) raises SystemExit instead."""

    def stay(status: int = 134) -> NoReturn:
        raise SystemExit(status)

    held = os._exit, os.abort
    os._exit = os.abort = stay
    try:
        yield
    finally:
        os._exit, os.abort = held


# --- where it was done ------------------------------------------------------------------------------


def locate(action: Callable[[], object], state: State) -> str | None:
    """`file:line, in function`: the first line of a plugin's own code behind which the state is another.

    The action is done once more for that; None where it does not do it again.
    """
    if sys.getprofile() is not None:  # a profiler of the user's is at work
        return None
    before, seeds, until = _read(state), Seed.count, time.monotonic() + LOCATE_SECONDS
    found: list[str] = []

    def look(frame: FrameType, event: str, arg: Any) -> None:
        if found or time.monotonic() > until or (state.seeded is not None and Seed.busy):
            return
        if state.differs(_expected(state, before, seeds), _read(state)):
            found.append(_place(frame))

    sys.setprofile(look)
    try:
        action()
    except Exception:  # noqa: BLE001 - it has failed already; what is asked here is where
        pass
    finally:
        sys.setprofile(None)
    return found[0] if found and found[0] else None


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
    """Whether a frame's file is a plugin's: no library's, and none of ablate's own."""
    return not (foreign(file) or f"{os.sep}site-packages{os.sep}numpy{os.sep}" in file)


# --- taking turns in one process --------------------------------------------------------------------


class Turns:
    """One process, two threads that run components' code: a job, and the driver that counts a candidate.

    The job holds the turn, and lets another have it between two steps.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._mutex = threading.Lock()
        self._worker: int | None = None  # the thread that holds it for a job
        self._wanted = threading.Event()
        self._taken = threading.Event()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """A job's own turn. Where another job is at work in this process already, this one takes none."""
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
        """Between two steps of a job: let the other have its turn, if it waits."""
        if self._wanted.is_set() and self._worker == threading.get_ident():
            self._taken.clear()
            self._lock.release()
            try:
                self._taken.wait(0.2)  # it takes the lock at once, and this one then waits for its end
            finally:
                self._lock.acquire()

    @contextlib.contextmanager
    def between(self, patience: float) -> Iterator[bool]:
        """A turn between two steps of a job: whether it came in time, in seconds. At once where no job runs."""
        self._wanted.set()
        came = self._lock.acquire(timeout=patience)
        self._wanted.clear()
        self._taken.set()
        try:
            yield came
        finally:
            if came:
                self._lock.release()


TURNS = Turns()


UNREADABLE = object()


def states() -> tuple[State, ...]:
    """All that can be looked at now, without importing anything."""
    found = python_states()
    if threading.current_thread() is threading.main_thread():
        found += main_states()  # another thread has no say in them, and the main thread moves them now and then
    if "numpy" in sys.modules and hasattr(sys.modules["numpy"], "random"):
        found += numpy_states()
    if "torch" in sys.modules and hasattr(sys.modules["torch"], "nn"):
        from ablate.runtime.torch_states import torch_states

        found += torch_states()
    return found


def _expected(state: State, before: Any, seeds: int) -> Any:
    """What a state should be: what it was, or what ablate's own seed made of it since there were `seeds`."""
    if state.seeded is not None and Seed.count != seeds and Seed.value is not None:
        return state.seeded(Seed.value)
    return before


def _read(state: State) -> Any:
    try:
        return state.read()
    except Exception:  # noqa: BLE001 - such as a current folder that was removed
        return UNREADABLE


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
