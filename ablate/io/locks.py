"""File locks between processes (advisory, exclusive): one driver of a folder, one worker on a trial, one download.

The operating system holds them (`filelock`: flock on Linux and macOS, msvcrt on Windows), so that a process which is
killed, however, lets go of its own. A lock's file is empty, and stays where it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import InputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

POLL_SECONDS = 0.1  # between two tries to acquire a lock that another process holds
STOPPED_SECONDS = 30.0  # that a lock's holder may be stopped until nobody waits for it any more
_LOOKS = 20  # tries between two looks at the holder


def try_lock(file: Path) -> BaseFileLock | None:
    """Acquire an exclusive file lock without waiting; None where another process, or this one, holds it.

    Whoever got it keeps the object, and calls its `release`. Raises OSError where the file cannot be written.
    """
    from filelock import FileLock, Timeout  # takes a twentieth of a second

    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


@contextmanager
def locked(file: Path, pause: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold an exclusive file lock within a `with`; wait as long as another process holds it.

    While it waits, `pause` is called ten times a second; what it raises ends the waiting. Raises OSError where the
    file cannot be written, and InputError where the holder is a process of this machine that is stopped.
    """
    tries, stopped_since = 0, None
    while (lock := try_lock(file)) is None:
        pause()
        time.sleep(POLL_SECONDS)
        tries += 1
        if tries % _LOOKS == 0:
            process = _stopped_holder(file)
            stopped_since = None if process is None else stopped_since or time.monotonic()
            if stopped_since is not None and time.monotonic() - stopped_since >= STOPPED_SECONDS:
                what = f"is held by process {process}, which is stopped"
                raise InputError(
                    f"{what}: let it go on (kill -CONT {process}), or end it (kill -9 {process})", str(file)
                )
    try:
        yield
    finally:
        lock.release()


def is_locked(file: Path) -> bool:
    """Return whether a process holds the file's lock; False where there is no such file, or nobody can tell.

    Where there is flock, a file that only can be read is enough, as in the folder of somebody else.
    """
    try:
        import fcntl
    except ImportError:
        return _is_locked_by_trying(file)
    try:
        handle = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


def _is_locked_by_trying(file: Path) -> bool:
    """Return the same where there is no flock: the lock is acquired for a moment."""
    if not file.exists():
        return False
    try:
        lock = try_lock(file)
    except OSError:
        return False
    if lock is None:
        return True
    lock.release()
    return False


def _stopped_holder(file: Path) -> int | None:
    """Return the process that holds the file's lock, where it is stopped; None where it works, or cannot be known."""
    try:
        inode = f":{file.stat().st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():  # 1: FLOCK  ADVISORY  WRITE 1234 08:01:567 0 EOF
            fields = line.split()
            if len(fields) > 5 and fields[1] != "->" and fields[5].endswith(inode):
                state = Path(f"/proc/{fields[4]}/stat").read_text().rpartition(")")[2].split()[0]
                return int(fields[4]) if state == "T" else None
    except (OSError, ValueError, IndexError):  # no Linux; or it is gone by now
        pass
    return None
