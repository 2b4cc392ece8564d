"""Redirection of standard output: reserved for one document (JSON), all other prints go to standard error.

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
    """A text stream that writes to stderr, in place of stdout while that is reserved. It cannot be closed."""

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        return 0 if sys.stderr is None else sys.stderr.write(text)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        if sys.stderr is not None:
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing is closed."""


class _Reserved:
    document: TextIO | None = None  # where the document goes while stdout is kept for it
    spent: bool = False  # whether it was printed


def document() -> TextIO:
    """Return the stream that a document is written to: stdout, or the real one while it is reserved."""
    return sys.stdout if _Reserved.document is None else _Reserved.document


@contextlib.contextmanager
def reserve_stdout() -> Iterator[None]:
    """Reserve stdout within a `with`: only what is written to `document()` reaches it; all else goes to stderr."""
    stream = sys.stdout
    if stream is None or _Reserved.document is not None:  # closed by whoever called, or kept already
        yield
        return
    stream.flush()
    original = _redirect_descriptor(stream)
    _Reserved.document, sys.stdout = original or stream, ToStderr()
    try:
        yield
    finally:
        _Reserved.document, _Reserved.spent, sys.stdout = None, True, stream
        if original is not None:
            _flush_native()
            os.dup2(original.fileno(), 1)
            with contextlib.suppress(OSError):  # it was told when the document was written
                original.close()


def end() -> None:
    """Keep anything registered to run at exit from printing behind a document; called at the end of a process."""
    if _Reserved.spent:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            _to_stderr()
        sys.stdout = ToStderr()


def _redirect_descriptor(stream: TextIO) -> TextIO | None:
    """Redirect file descriptor 1 to stderr; return a stream to its old target, None where stdout is another one."""
    try:
        if stream.fileno() != 1:
            return None
        original = os.dup(1)
    except (OSError, ValueError, AttributeError):  # such as a notebook's
        return None
    _to_stderr()
    return os.fdopen(original, "w", encoding=stream.encoding, errors=stream.errors, newline="\n")


def _to_stderr() -> None:
    try:
        os.dup2(2, 1)
    except OSError:  # there is none
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _flush_native() -> None:
    """Flush what native code has printed and the C library still buffers."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
