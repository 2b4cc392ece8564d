"""File locks: exclusive between processes, free again after kill -9, and a wait that can be ended."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.io import locks

HOLD = """
import sys
from pathlib import Path
from ablate.io.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_process(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its stdin ends."""
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process


@pytest.fixture(params=["flock", "no fcntl"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How `is_locked` looks, with flock and without."""
    if request.param != "flock":
        monkeypatch.setitem(sys.modules, "fcntl", None)


@pytest.mark.usefixtures("system")
def test_a_killed_process_lets_go_and_the_file_stays(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    assert not locks.is_locked(file) and not file.exists(), "to look makes no file"
    with another_process(file) as process:
        assert locks.is_locked(file) and locks.try_lock(file) is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not locks.is_locked(file)
        with locks.locked(file):
            assert locks.is_locked(file)
            assert locks.try_lock(file) is None, "also within one process a lock has one holder"
    assert not locks.is_locked(file) and file.read_bytes() == b""


def test_who_waits_is_asked_and_can_end_it(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    pauses = []

    def pause() -> None:
        pauses.append(1)
        if len(pauses) == 3:
            raise InterruptedError

    with another_process(file), pytest.raises(InterruptedError), locks.locked(file, pause):
        pytest.fail("another process holds it")
    with locks.locked(file, pause):  # free: nobody is asked
        assert len(pauses) == 3


def test_who_waits_gets_it_as_soon_as_it_is_free(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with another_process(file) as process, locks.locked(file, process.communicate):
        assert process.returncode == 0


def test_what_cannot_be_written_is_an_error_to_lock_and_unknown_to_ask(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as raised:
        locks.try_lock(tmp_path / "file" / ".lock")
    assert raised.value.strerror
    assert not locks.is_locked(tmp_path / "file" / ".lock")


@pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is known on Linux alone")
def test_nobody_waits_for_ever_for_a_process_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "STOPPED_SECONDS", 0.3)
    monkeypatch.setattr(locks, "_LOOKS", 1)
    file, tries = tmp_path / "lock", iter(range(10))

    def pause() -> None:
        if next(tries, None) is None:
            raise InterruptedError

    with another_process(file) as process:
        with pytest.raises(InterruptedError), locks.locked(file, pause):  # it works: one waits
            pytest.fail("two hold it")
        process.send_signal(signal.SIGSTOP)
        with (
            pytest.raises(InputError, match=rf"process {process.pid}, which is stopped: let it go on"),
            locks.locked(file),
        ):
            pytest.fail("two hold it")
        process.send_signal(signal.SIGCONT)
