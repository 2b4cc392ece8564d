"""Standard output, kept for one document: whatever else is printed meanwhile goes to standard error.

A plugin's `print`, a library's progress bar or native code would otherwise stand in the middle of the
JSON that a program reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO


class ToStderr(io.TextIOBase):
    """Where prints go while stdout belongs to whoever asked: to stderr. It cannot be closed."""

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        return 0 if sys.stderr is None else sys.stderr.write(text)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        if sys.stderr is not None:
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing is closed."""


class _Kept:
    document: TextIO | None = None  # where the document goes while stdout is kept for it
    spent: bool = False  # whether it was printed


def document() -> TextIO:
    """Where a document is to be written: stdout, or what was stdout when it was kept."""
    return sys.stdout if _Kept.document is None else _Kept.document


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Inside, only what is written to `document()` reaches stdout; native code and child processes write to stderr."""
    held = sys.stdout
    if held is None or _Kept.document is not None:  # closed by whoever called, or kept already
        yield
        return
    held.flush()
    own = _aside(held)
    _Kept.document, sys.stdout = own or held, ToStderr()
    try:
        yield
    finally:
        _Kept.document, _Kept.spent, sys.stdout = None, True, held
        if own is not None:
            _flush_native()
            os.dup2(own.fileno(), 1)
            with contextlib.suppress(OSError):  # it was told when the document was written
                own.close()


def end() -> None:
    """At the end of a process: behind a document, nothing follows, whatever is registered to run at exit."""
    if _Kept.spent:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            _to_stderr()
        sys.stdout = ToStderr()


def _aside(held: TextIO) -> TextIO | None:
    """File descriptor 1 leads to stderr from here on; where it led. None where stdout is not that descriptor."""
    try:
        if held.fileno() != 1:
            return None
        own = os.dup(1)
    except (OSError, ValueError, AttributeError):  # such as a notebook's
        return None
    _to_stderr()
    return os.fdopen(own, "w", encoding=held.encoding, errors=held.errors, newline="\n")


def _to_stderr() -> None:
    try:
        os.dup2(2, 1)
    except OSError:  # there is none
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _flush_native() -> None:
    """What native code has printed and C's library still holds."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
