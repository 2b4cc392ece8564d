"""The global states of a process that decide numbers, folders or messages: Python's own, and numpy's.

Those of torch are in `ablate.runtime.torch_states`. See `ablate.runtime.isolation` for what is done with them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import ctypes
import decimal
import gc
import locale
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENVIRONMENT = "the environment"
FOLDER = "the current folder"
WORDS = 624  # of a Mersenne twister's block
TWISTS = 20_000  # blocks of 624 numbers: that many may be drawn before a random state is taken for a new one


@dataclass(frozen=True)
class GlobalState:
    """One global state: how to read, write and compare it. instead: what a component should do; None: just restored."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]
    instead: str | None
    describe: Callable[[Any, Any], tuple[str, str]] = lambda before, after: (str(before), str(after))
    differs: Callable[[Any, Any], bool] = lambda before, after: bool(before != after)
    fresh: Any = None  # what it is when its library was just imported; None: not known
    # Of a random state: what it is just after ablate's seed. Components may draw from it, and must not seed it.
    seeded: Callable[[int], Any] | None = None
    # Of what takes long to read: whether it surely is what it was, at a glance; where not, it is read and compared.
    same: Callable[[Any], bool] | None = None

    def stays(self, before: Any) -> bool:
        """Return whether it surely is what it was; False where that takes a reading."""
        return self.same is not None and self.same(before)


class Seed:
    """The seed that ablate last gave all global random generators, so that another one is noticed."""

    value: int | None = None
    count = 0  # of all seeds so far
    busy = False  # while not all generators have it yet
    twister: tuple[int | None, bytes | None] = (
        None,
        None,
    )  # a seed, and the block that numpy's generator is at after it

    @classmethod
    def set(cls, value: int) -> None:
        """Seed numpy's and Python's global generators, and remember; torch's are the caller's."""
        cls.value, cls.count = value, cls.count + 1
        random.seed(value)
        if "numpy" in sys.modules:
            import numpy as np

            np.random.seed(value & 0xFFFFFFFF)
            cls.twister = value, _twister()


@cache
def python_states() -> tuple[GlobalState, ...]:
    """Return the global states of Python itself."""
    return (
        GlobalState(FOLDER, os.getcwd, os.chdir, "open files by their full path, beside `__file__`"),
        GlobalState(
            ENVIRONMENT,
            lambda: _decoded(tuple(os.environ._data.items())),  # type: ignore[attr-defined]
            _set_environment,
            "make it a field of the component, or hand it to the library that reads it",
            describe=_describe_environment,
        ),
        GlobalState(
            "the locale",
            lambda: locale.setlocale(locale.LC_ALL),
            lambda saved: _ignore(locale.setlocale(locale.LC_ALL, saved)),
            "format by hand",
        ),
        GlobalState(
            "decimal's context",
            lambda: _decimal(decimal.getcontext()),
            _set_decimal,
            "use `decimal.localcontext()`",
            describe=lambda before, after: (f"of {before[0]} digits, {before[1]}", f"of {after[0]} digits, {after[1]}"),
        ),
        GlobalState(
            "Python's global random state",
            random.getstate,
            random.setstate,
            "leave it as it is, it is seeded for each trial; for fixed numbers make a `random.Random(0)`",
            describe=lambda before, after: ("seeded by ablate", "seeded anew, the same for all trials"),
            differs=lambda before, after: not _python_drawn(before, after),
            seeded=_python_seeded,
        ),
        GlobalState("the import path", lambda: list(sys.path), lambda saved: _replace_items(sys.path, saved), None),
        GlobalState("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, None),
        GlobalState("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable(), None),
        GlobalState("the root logger's level", lambda: logging.getLogger().level, logging.getLogger().setLevel, None),
        GlobalState("logging's switch", lambda: logging.root.manager.disable, logging.disable, None),
    )


@cache
def main_states() -> tuple[GlobalState, ...]:
    """Return the global states that only the main thread may change."""
    return (
        GlobalState("the filters of warnings", lambda: list(warnings.filters), _set_filters, None),
        GlobalState("the handlers of signals", _handlers, _set_handlers, None),
        GlobalState("standard output", lambda: sys.stdout, lambda saved: setattr(sys, "stdout", saved), None),
        GlobalState("standard error", lambda: sys.stderr, lambda saved: setattr(sys, "stderr", saved), None),
    )


@cache
def numpy_states() -> tuple[GlobalState, ...]:
    """Return the global states of numpy, which must be imported already."""
    import numpy as np

    return (
        GlobalState(
            "numpy's treatment of floating-point errors",
            np.geterr,
            lambda saved: _ignore(np.seterr(**saved)),
            "use `with np.errstate(...)`",
        ),
        GlobalState(
            "numpy's global random state",
            lambda: np.random.get_state(legacy=False),
            np.random.set_state,
            "leave it as it is, it is seeded for each trial; for fixed numbers make an `np.random.default_rng(0)`",
            describe=lambda before, after: ("seeded by ablate", "seeded anew, the same for all trials"),
            differs=lambda before, after: not _numpy_drawn(before, after),
            seeded=_numpy_seeded,
            same=_numpy_stays,
        ),
        GlobalState(
            "numpy's print options", np.get_printoptions, lambda saved: np.set_printoptions(**_settable(saved)), None
        ),
    )


@lru_cache(maxsize=2)
def _decoded(environment: tuple[tuple[Any, Any], ...]) -> dict[str, str]:
    """Return the environment from the bytes that Python keeps of it; decoding takes far longer than comparing."""
    return {os.environ.decodekey(name): os.environ.decodevalue(value) for name, value in environment}


def _set_environment(saved: dict[str, str]) -> None:
    for name in os.environ.keys() - saved.keys():
        del os.environ[name]
    for name, value in saved.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _describe_environment(before: dict[str, str], after: dict[str, str]) -> tuple[str, str]:
    moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    before_text, after_text = (
        ", ".join(f"{name}={values[name]!r}" if name in values else f"without {name}" for name in moved)
        for values in (before, after)
    )
    return before_text, after_text


def _decimal(context: decimal.Context) -> tuple[Any, ...]:
    traps = [signal for signal, on in context.traps.items() if on]
    settings = (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp)
    return (*settings, sorted(traps, key=str))


def _set_decimal(saved: tuple[Any, ...]) -> None:
    prec, rounding, least, most, capitals, clamp, traps = saved
    decimal.setcontext(decimal.Context(prec, rounding, least, most, capitals, clamp, traps=list(traps)))


def _set_filters(saved: list[Any]) -> None:
    warnings.resetwarnings()  # what was shown once may be shown again
    _replace_items(warnings.filters, saved)  # type: ignore[arg-type]  # a list, which typeshed calls a sequence


@cache
def _signals() -> tuple[int, ...]:
    return tuple(map(int, signal.valid_signals()))


def _handlers() -> dict[int, Any]:
    return {
        number: _signal.getsignal(number) for number in _signals()
    }  # `signal`'s own looks each up in an enumeration


def _set_handlers(saved: dict[int, Any]) -> None:
    for number, handler in saved.items():
        if handler is not None and signal.getsignal(number) is not handler:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, handler)


def _settable(options: Any) -> dict[str, Any]:
    return {name: value for name, value in dict(options).items() if name != "override_repr"}


def _replace_items(target: list[Any], values: list[Any]) -> None:
    target[:] = values


def _ignore(value: object) -> None:
    """For setters that give something back."""


# --- whether a random state was drawn from, or seeded anew ---------------------------------------------


@lru_cache(maxsize=16)
def _python_seeded(value: int) -> Any:
    return random.Random(value).getstate()


def _python_drawn(base: Any, after: Any) -> bool:
    """Return whether drawing leads from one state of a Mersenne twister to another (not a new seed)."""
    if base[1] == after[1] or base[1][:-1] == after[1][:-1]:
        return True
    import numpy as np  # whose twister is the same, and quicker

    return _leads_to(np.array(base[1][:-1], dtype=np.uint32), np.array(after[1][:-1], dtype=np.uint32))


def _numpy_seeded(value: int) -> Any:
    """Return the state of numpy's generator just after a seed; that after the last one is remembered."""
    import numpy as np

    of, block = Seed.twister
    if block is None or of != value:
        return np.random.RandomState(value & 0xFFFFFFFF).get_state(legacy=False)
    key = np.frombuffer(block, np.uint32)
    return {"bit_generator": "MT19937", "state": {"key": key, "pos": len(key)}}  # all of its words are still to come


def _numpy_drawn(base: Any, after: Any) -> bool:
    """Return the same for numpy's generator."""
    if not base["bit_generator"] == after["bit_generator"] == "MT19937":
        return False
    before, now = base["state"]["key"], after["state"]["key"]
    return bool((before == now).all()) or _leads_to(before, now)


def _numpy_stays(base: Any) -> bool:
    """Return whether numpy's global generator is at the same block of 624 words as in a state."""
    return bool(base["bit_generator"] == "MT19937" and base["state"]["key"].tobytes() == _twister())


def _twister() -> bytes | None:
    """Return the block of 624 words that numpy's global generator is at, from its memory; None of another algorithm."""
    import numpy as np

    generator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if not isinstance(generator, np.random.MT19937):
        return None
    return ctypes.string_at(generator.ctypes.state_address, WORDS * np.dtype(np.uint32).itemsize)


def _leads_to(base: NDArray[np.uint32], after: NDArray[np.uint32]) -> bool:
    """Return whether a twister comes to a block of 624 words from another; what a block gives tells which it is."""
    import numpy as np

    def stream(key: NDArray[np.uint32]) -> np.random.MT19937:
        generator = np.random.MT19937()
        generator.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 0}}
        return generator

    target, blocks = stream(after).random_raw(624), stream(base)
    sizes = (1, 2, *[500] * (TWISTS // 500))
    return any(bool((blocks.random_raw((size, 624)) == target).all(axis=1).any()) for size in sizes)
