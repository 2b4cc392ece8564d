"""A small real study through the command line, in processes that can be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
from segments_for_tests import CACHE, PLUGIN
from trial_files import record_files

from ablate.execute.leases import Jobs
from ablate.io.files import read_json

LONG = 600.0  # seconds: no process takes so long, on a machine however busy; nothing is told by it but that it hangs
CLOCK = (
    "seconds",
    "train_seconds",
    "evaluate_seconds",
    "overhead_seconds",
    "ended",
    "peak_memory_bytes",
    "train_memory_bytes",
)

STUDY = """\
study: killed
plugins: [probes.py]
data: digits
base:
  backbone: {type: probe, width: 160, dropout: 0.1}
  solver: {type: ddim, steps: 4}
  guidance: {type: cfg, scale: 1.5, drop: 0.1}
  batch: 16
vary:
  backbone.width: [160, 168]
design: {type: one_factor, seeds: 2}
budget: {images: 640}
evaluate: {metrics: [{type: kid, features: pixels}], samples: 40, batch: 10, previews: 4}
objectives: [kid, gflops]
"""


def lay_out(folder: Path, study: str = STUDY) -> Path:
    """The study's file, its plugin beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PLUGIN, folder / "probes.py")
    file = folder / "killed.yaml"
    file.write_text(study)
    return file


def command(file: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ablate.cli",
        "run",
        str(file),
        "--out",
        str(out),
        "--device",
        "cpu",
        "--no-figures",
        *more,
    ]


def environment(**more: str) -> dict[str, str]:
    """A checkpoint every tenth of a second; one thread; a short path for Ray's sockets."""
    own = {"OMP_NUM_THREADS": "1", "ABLATE_CACHE": str(CACHE), "PROBE_CHECKPOINT_SECONDS": "0.1"}
    return {**os.environ, **own, **more}


def run(file: Path, out: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """To its end."""
    return subprocess.run(
        command(file, out, *more),
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def errors(stderr: str) -> str:
    """What stderr holds beside what each run says of its data and its four steps of sampling, and a slow machine's."""
    notices = ("data: ", "warning: solver 'ddim' with 4 steps ", "still ")
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith(notices))


@dataclass
class Driver:
    """A driver that is at work, and everything below it."""

    process: subprocess.Popen[str]
    mark: str

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait for something that it does; fails at once, with what it said, where it ended without that."""

        def there() -> bool:
            ended = self.process.poll() is not None
            found = bool(true())
            assert found or not ended, (what, self.process.returncode, *self.process.communicate())
            return found

        until(there, LONG, what)

    def family(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("ABLATE_TEST") == self.mark:
                    found.append(process)
        return found

    def kill(self) -> None:
        """kill -9 of the driver alone; wait until all that it had started is gone."""
        self.process.kill()
        self.process.communicate()
        until(lambda: not self.family(), LONG, "its workers go on")

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C in a terminal reaches every process in the foreground; exit code and stderr."""
        os.killpg(self.process.pid, signal.SIGINT)
        _, told = self.process.communicate(timeout=LONG)
        return self.process.returncode, errors(told)


@contextlib.contextmanager
def started(file: Path, out: Path, *more: str, sleep: float = 0.1) -> Iterator[Driver]:
    """A run whose training rests at every step, so that there is time to disturb it; by default for seconds a trial."""
    mark = uuid.uuid4().hex
    begun = subprocess.Popen(
        command(file, out, *more),
        env=environment(ABLATE_TEST=mark, PROBE_SLEEP=str(sleep)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    driver = Driver(begun, mark)
    try:
        yield driver
    finally:
        if begun.poll() is None:
            begun.kill()
        begun.communicate()
        for process in driver.family():
            with contextlib.suppress(psutil.Error):
                process.kill()


def until(true: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def tables(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables without what a clock decides."""
    trials = pd.read_parquet(out / "trials.parquet").drop(columns=list(CLOCK))
    return trials, pd.read_parquet(out / "metrics.parquet").drop(columns="train_seconds")


def assert_same_tables(one: Path, two: Path) -> None:
    for ours, theirs in zip(tables(one), tables(two), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def marks(out: Path) -> dict[str, tuple[int, int]]:
    """What changes if a record is written again."""
    return {file.parent.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in record_files(out)}


def checkpoints(out: Path) -> set[tuple[str, int]]:
    """What lies there of trials in the middle of their training; another one with every checkpoint."""
    found = set()
    for file in out.glob("trials/*/checkpoint/*.json"):
        with contextlib.suppress(FileNotFoundError):  # it has just given way to the next
            found.add((str(file), file.stat().st_mtime_ns))
    return found


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Sockets have short names."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def worker(out: Path, *more: str, sleep: float = 0.05) -> subprocess.Popen[str]:
    """`ablate worker`, whose training rests at every step."""
    return subprocess.Popen(
        [sys.executable, "-m", "ablate.cli", "worker", str(out), *more],
        env=environment(PROBE_SLEEP=str(sleep)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def at_work(out: Path) -> list[psutil.Process]:
    """The workers that hold a trial with a checkpoint."""
    store, found = Jobs(out), []
    for job, place in store.places():
        if list((place / job).glob("checkpoint/*.json")):
            name = place.name.partition("@")[2].rpartition(".")[0]
            found.append(psutil.Process(read_json(store.present / f"{name}.json")["pid"]))
    return found
