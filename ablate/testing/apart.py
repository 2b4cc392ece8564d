"""Checks in a process of their own: a plugin that hangs, ends its process, or takes all memory is named, no more.

The process writes what it begins and ends to a file, which is read here. Whoever takes longer than the time limit for
one step (loading, or one check), or more memory than its limit, is stopped with all of its children; the checks behind
it run in the next process. What a plugin prints is kept, and told beside the check in which it was printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ablate.errors import InputError
from ablate.io.text import label
from ablate.testing.run import Outcome

TIME, MEMORY = 180.0, 8.0  # seconds of one step, GiB of the process with its children
POLL = 0.1  # seconds
PROCESSES = 12  # that are started at the most: each ends by one check
TAIL = 4000  # signs of what the process wrote last
GIB = 2**30


@dataclass
class Apart:
    """What is known of a target before its checks. broken: plugin, module, reason, traceback of what does not load."""

    components: list[str] = field(default_factory=list)
    broken: list[tuple[str, str, str, str]] = field(default_factory=list)


def examine_apart(
    target: str, plugins: Sequence[str] = (), seconds: float = TIME, gib: float = MEMORY, into: Apart | None = None
) -> Iterator[Outcome]:
    """Run every check of every component of a target, each in another process, and yield the outcomes.

    seconds: that loading, and each check, may take. gib: memory that the process with its children may take. into:
    filled with what was loaded. Raises InputError where there is no such target, or a limit is not above 0.
    """
    if not (seconds > 0 and gib > 0):
        raise InputError(f"a limit is above 0: {seconds:g} seconds, {gib:g} GiB")
    known, after = into if into is not None else Apart(), ""
    for _ in range(PROCESSES):
        with _Process(target, after, plugins) as process:
            last = yield from _watch(process, known, seconds, gib)
        if last is None:
            return
        after = last
    yield Outcome(
        target, "checks", "failed", f"{PROCESSES} processes were ended by its checks: the others were not run"
    )


def _watch(process: _Process, known: Apart, seconds: float, gib: float) -> Generator[Outcome, None, str | None]:
    """Yield what one process finds; return the step that ended it, None where it came to its end."""
    step, begun = ("", "loads"), time.monotonic()
    while True:
        ended = process.ended()
        for line in process.lines():
            begun = time.monotonic()
            if "begin" in line:
                step = str(line["begin"][0]), str(line["begin"][1])
            elif "error" in line:
                raise InputError(line["error"]["message"], line["error"]["where"] or "")
            elif "loaded" in line:
                known.components, known.broken = line["loaded"], [tuple(one) for one in line["broken"]]
                yield from _printed("", process.printed(line["printed"]), "loads")
            elif "outcome" in line:
                outcome = Outcome(**line["outcome"])
                said = process.printed(line["printed"])
                yield replace(outcome, reason=outcome.reason or _words(said)) if said else outcome
            elif "done" in line:
                return None
        why = _ending(process, ended, time.monotonic() - begun, seconds, gib)
        if why:
            if ended is None:
                where = process.stop()
                why = f"{why}{where}"
            component = step[0] or process.target
            yield Outcome(component, step[1], "failed", why, process.tail())
            return f"{step[0]}: {step[1]}" if step[0] else None
        time.sleep(POLL)


def _ending(process: _Process, ended: int | None, spent: float, seconds: float, gib: float) -> str:
    """Say why the process does not go on; '' where it does."""
    if ended is not None:
        if ended < 0:
            return f"ends the process: {signal.Signals(-ended).name}{process.place()}"
        return f"ends the process with exit code {ended}{process.place()}; raise an exception instead"
    if spent > seconds:
        return f"hangs: no answer for {seconds:g} seconds"
    memory = process.memory()
    if memory > gib * GIB:
        return f"takes {memory / GIB:.1f} GiB of memory, more than {gib:g}"
    return ""


def _printed(component: str, said: str, check: str) -> Iterator[Outcome]:
    if said:
        yield Outcome(component or "plugin", check, "passed", _words(said))


def _words(said: str) -> str:
    lines = said.strip().splitlines()
    more = f" and {len(lines) - 1} more lines" if len(lines) > 1 else ""
    return f"prints {label(lines[0] if lines else '', 60)!r}{more}: a study's output is no place for it, use warnings"


class _Process:
    """The other process, its log, and what it prints."""

    def __init__(self, target: str, after: str, plugins: Sequence[str]) -> None:
        self.target = target
        self._folder = tempfile.TemporaryDirectory(prefix="ablate-check-")
        folder = Path(self._folder.name)
        self._log, self._out, self._err = folder / "log", folder / "out", folder / "err"
        for path in (self._log, self._out, self._err):
            path.touch()
        self._read = self._shown = 0
        modules = os.pathsep.join(filter(None, sys.path))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ablate.testing.apart_child", str(self._log), target, after, *plugins],
                env={**os.environ, "PYTHONPATH": modules, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    def ended(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what was written to the log since the last time, whole lines alone."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole, _, _ = content.rpartition(b"\n")
        self._read += len(whole) + (1 if whole else 0)
        for line in whole.splitlines():
            yield json.loads(line)

    def printed(self, until: int) -> str:
        """Return what was printed to stdout since the last time, until so many bytes were."""
        with self._out.open("rb") as file:
            file.seek(self._shown)
            content = file.read(max(until - self._shown, 0))
        self._shown += len(content)
        return content.decode(errors="replace")

    def tail(self) -> str:
        """Return the end of what was written to stderr."""
        return self._err.read_bytes()[-TAIL:].decode(errors="replace")

    def memory(self) -> int:
        """Return the bytes that the process and its children have in memory."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(self._process.pid)
            for process in (own, *own.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return total

    def stop(self) -> str:
        """End the process and its children; return where it was, ' (file:line)'."""
        if self._process.poll() is not None:
            return ""
        with contextlib.suppress(AttributeError, ProcessLookupError, PermissionError):
            os.kill(self._process.pid, signal.SIGUSR1)  # it writes where it is
            time.sleep(0.5)
        where = self.place()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return where

    def place(self) -> str:
        """Return ' (file:line)' of the plugin's own line in the last stack that the process wrote; '' without one."""
        own = str(Path(__file__).resolve().parents[1])
        for line in self.tail().splitlines():
            stripped = line.strip()
            if stripped.startswith('File "') and ", line " in stripped:
                name, _, rest = stripped[6:].partition('", line ')
                if not name.startswith((own, sys.prefix, sys.base_prefix, "<")) and "site-packages" not in name:
                    return f" ({name}:{rest.split()[0].rstrip(',')})"
        return ""
