"""A tiny study run by the command line in forked processes, which need not import anything, and how they ended."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from kills_for_tests import lay_out, marks, tables

STUDY = """\
study: faults
plugins: [probes.py]
data: digits
base:
  backbone: {type: probe, width: 4, dropout: 0.1}
  solver: {type: ddim, steps: 2}
  batch: 16
vary:
  backbone.width: [4, 6, 8]
design: {type: one_factor, seeds: 1}
budget: {images: 48}
evaluate: {metrics: [{type: kid, features: pixels}], samples: 8, batch: 8, previews: 4}
objectives: [kid, gflops]
"""
EXECUTORS = {
    "within": ("--executor", "local", "--set", "executor={type: local, in_process: true}"),
    "local": ("--executor", "local"),
    "workers": ("--executor", "workers", "--workers", "1"),
    "ray": ("--executor", "ray", "--set", "executor={type: ray, workers: 1, cpus: 1}"),
    "cluster": ("--executor", "ray", "--set", "executor={type: ray, cpus: 1}"),
}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PROBE_CHECKPOINT_SECONDS": "0"}
HANGS = 900.0  # seconds after which a run is ended, and the fault has failed
QUIET = ("data: ", "warning: solver 'ddim'", "warning: evaluate.samples: ", "still ", "waiting for workers")
# What a run says of a fault that it has got over, or of a machine that is slow; none of it is the message of an end.
GOT_OVER = ("warning: ", "interrupted; ")


@dataclass
class Ended:
    """How a run ended. code: None where a signal ended it."""

    code: int | None
    out: str
    err: str
    cpu: float

    @property
    def message(self) -> list[str]:
        """The lines on stderr beside those that each run of this study has."""
        return [line for line in self.err.splitlines() if line and not line.startswith(QUIET)]


class Run:
    """A run of the study in a process of its own, forked from this one.

    before: called in it, before it begins. to: the URL of a folder in a store; the folder `out` by default.
    """

    def __init__(
        self, file: Path, out: Path, executor: str, before: Callable[[], None] = lambda: None, to: str | None = None
    ) -> None:
        words = ["run", str(file), "--out", to or str(out), "--device", "cpu", "--no-figures", *EXECUTORS[executor]]
        self._logs = [out.parent / f"{out.name}.{number}.log" for number in (1, 2)]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(words, before)

    def _child(self, words: Sequence[str], before: Callable[[], None]) -> None:
        code = 99
        try:
            os.setsid()
            os.environ.update(ENVIRONMENT)
            for number, log in enumerate(self._logs, 1):
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), line_buffering=True)
            sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), line_buffering=True)
            code = _call(words, before)
        finally:
            os._exit(code)

    def ended(self) -> bool:
        """Return whether it is over."""
        return psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE

    def family(self) -> list[psutil.Process]:
        """Return the process, and all that it has started."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []

    def wait(self) -> Ended:
        """Wait for its end. Raises AssertionError where it hangs."""
        family, end = self.family(), time.monotonic() + HANGS
        while not self.ended():
            if time.monotonic() > end:
                for process in self.family():
                    process.kill()
                raise AssertionError(f"it hangs: {[log.read_text()[-500:] for log in self._logs]}")
            time.sleep(0.02)
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        while left := [process for process in family[1:] if _lives(process)]:
            assert time.monotonic() < end + HANGS, f"left of it: {left}"
            time.sleep(0.02)
        texts = [log.read_text(errors="replace") for log in self._logs]
        return Ended(code if code >= 0 else None, *texts, usage.ru_utime + usage.ru_stime)


def _lives(process: psutil.Process) -> bool:
    """Return whether it runs; what has ended and nobody has asked for, as in a container without an init, does not."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _call(words: Sequence[str], before: Callable[[], None]) -> int:
    from ablate.cli import main

    before()
    try:
        main(list(words))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 98


class Lab:
    """A folder in which the study is run. undisturbed: the folder of a run that nothing happened to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = lay_out(place / "study", STUDY)
        self.undisturbed = place / "undisturbed"
        self._patch = pytest.MonkeyPatch()
        for name, value in {**ENVIRONMENT, "ABLATE_CACHE": str(place / "cache")}.items():
            self._patch.setenv(name, value)
        self._run_here()
        self.tables = tables(self.undisturbed)
        self.records = len(marks(self.undisturbed))

    def _run_here(self) -> None:
        """In this process, so that what it imports is there for all that are forked from it."""
        # The table and the verdict that a run prints at its end take longer than the study; the tables are compared.
        self._patch.setattr("ablate.cli.run._summarise", lambda folder: None)
        words = ["run", str(self.file), "--out", str(self.undisturbed), "--device", "cpu", "--no-figures"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
            assert _call([*words, *EXECUTORS["within"]], lambda: None) == 0, told.getvalue()

    def close(self) -> None:
        """Leave this process as it was."""
        self._patch.undo()

    def copy(self, source: Path, name: str) -> Path:
        """Return a copy of a study's folder, times and all."""
        return Path(shutil.copytree(source, self.place / name, symlinks=True))

    def differs(self, out: Path) -> list[str]:
        """Return what a folder's tables have other than those of the undisturbed run."""
        found = []
        for ours, theirs, what in zip(tables(out), self.tables, ("trials", "metrics"), strict=True):
            try:
                pd.testing.assert_frame_equal(ours, theirs)
            except AssertionError as error:
                found.append(f"{what}: {' '.join(str(error).split())[:300]}")
        return found
