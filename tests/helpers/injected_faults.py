"""Faults that are injected into a run of a study or into its folder, each by a number; then it has to be whole."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from faults_elsewhere import nodes, object_store
from faults_judged import HIDDEN, Fault, finish, first
from faulty_runs import Lab, Run
from kills_for_tests import marks

from ablate.worker.records import PACKED, is_recorded, read

WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "sqlite3.connect"}
DAMAGES = ("cut", "flip", "empty", "gone", "text", "zeros")


def at_write(out: Path, number: int, do: Callable[[], None]) -> Callable[[], None]:
    """Return what sets a trap in a process: at its `number`-th change to the files below `out` something is done."""
    left, own = [number], [False]

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if own[0] or left[0] <= 0 or not words:
            return
        writes = event in WRITES or (
            event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes and str(words[0]).startswith(str(out)):
            left[0] -= 1
            if left[0] == 0:
                own[0] = True
                do()
                own[0] = False

    return lambda: sys.addaudithook(hook)


def killed() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_write(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """kill -9 of the driver at one of its first 100 changes to the folder, again and again."""
    for _ in range(rng.choice((1, 1, 2))):
        number = rng.randrange(1, 100)
        fault.what += f"kill -9 at write {number}; "
        first(fault, Run(lab.file, out, fault.executor, at_write(out, number, killed)).wait(), None, 0)


def kill_at_clock(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """An end without a word at a moment of its CPU time, also in the middle of native code."""
    seconds = rng.uniform(0.05, 2.5)
    fault.what = f"killed after {seconds:.2f} s of CPU"

    def arm() -> None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)

    first(fault, Run(lab.file, out, fault.executor, arm).wait(), None, 0)


def kill_worker(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """kill -9 of one of the processes that the driver has started, once a trial trains or later."""
    run, victims = Run(lab.file, out, fault.executor), list[psutil.Process]()
    after = rng.uniform(0, 2)
    while not victims and not run.ended():
        if list(out.glob("trials/*/job.json")) or list(out.glob("workers/held/*/*/job.json")):
            time.sleep(after)
            victims = [process for process in run.family()[1:] if _python(process)]
        time.sleep(0.02)
    for victim in victims[:1] if rng.random() < 0.5 else victims[-1:]:
        with contextlib.suppress(psutil.Error):
            fault.what = f"kill -9 of {' '.join(victim.cmdline())[:60]} after {after:.1f} s"
            victim.kill()
    first(fault, run.wait(), 0)


def _python(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "python" in process.name() or process.name().startswith("ray::")
    return False


def stop(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """SIGSTOP of the driver or of all, and SIGCONT a little later."""
    run = Run(lab.file, out, fault.executor)
    for _ in range(rng.randrange(1, 4)):
        time.sleep(rng.uniform(0, 3))
        stopped = run.family() if rng.random() < 0.5 else run.family()[:1]
        fault.what += f"{len(stopped)} stopped; "
        for signal_ in (signal.SIGSTOP, signal.SIGCONT):
            for process in stopped:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal_)
            time.sleep(rng.uniform(0.1, 1.5))
    first(fault, run.wait(), 0)


def full_disk(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """A disk of its own that has little room, and room again afterwards."""
    room = rng.choice((4, 8, 16, 40, 80, 120, 160, 200, 240, 280, 320))
    fault.what = f"{room} KiB left"
    with small_disk(out.parent / f"{out.name}-disk", 8192) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes((8192 - room) * 1024))
        ended = Run(lab.file, disk / out.name, fault.executor).wait()
        first(fault, ended, 0, 2)
        if ended.code == 2 and not any(word in ended.err for word in ("No space left", "disk is full", "disk I/O")):
            fault.wrong.append(f"it does not say that the disk is full: {ended.message}")
        ballast.unlink()
        finish(fault, lab, disk / out.name)


def file_sizes(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """A limit of how long a file may be (RLIMIT_FSIZE)."""
    most = rng.choice((1000, 2000, 4000, 8000, 20_000, 60_000, 110_000, 150_000))  # its message is in a file too
    fault.what = f"no file beyond {most} bytes"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    first(fault, Run(lab.file, out, fault.executor, limit).wait(), 0, 2, None)


def damage(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """A file of a folder is damaged while nobody works in it; what cannot go on has to name it."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name not in HIDDEN)
    file, how = rng.choice(files), rng.choice(DAMAGES)
    fault.what = f"{how}: {file.relative_to(out)}"
    before, backup, stands = marks(out), file.read_bytes(), is_recorded(file.parent)
    _damage(file, how, rng)
    if file.name == PACKED:  # what is damaged is measured again, or told
        before.pop(file.parent.name, None)
    ended = Run(lab.file, out, fault.executor).wait()
    first(fault, ended, 0, 2)
    if ended.code == 2:
        fault.told.append(ended.err[-500:])
        named = file.name in ended.err or str(file) in ended.err
        if not named:
            fault.wrong.append(f"it does not name the file: {ended.message}")
        file.unlink(missing_ok=True)
        if "remove it" not in ended.err:
            file.write_bytes(backup)
    finish(fault, lab, out, before)
    if stands:
        _beside(fault, file, backup)


def _beside(fault: Fault, file: Path, backup: bytes) -> None:
    """A file beside a record that is damaged still has to be told, or left out, by who reads the folder."""
    if file.name not in (PACKED, "samples.npy", "samples.png") or not file.exists():
        return
    import ablate
    from ablate.results.figures.samples import as_recorded

    if file.name != PACKED and file.read_bytes() != backup and as_recorded(file):
        fault.wrong.append(f"{file} is damaged, and is shown")
    damage: list[str] = []
    if file.name == PACKED and read(file.parent, damage=damage) is not None and damage:
        results = ablate.load(file.parents[2])
        if not any(str(file) in line for line in results.warnings):
            fault.wrong.append(f"nobody says that {file} is damaged")


def _damage(file: Path, how: str, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = rng.randrange(max(1, len(content)))
    if how == "gone":
        file.unlink()
        return
    if how == "cut":
        del content[at:]
    elif how == "flip" and content:
        content[at] ^= 1 << rng.randrange(8)
    elif how == "empty":
        content.clear()
    elif how == "text":
        content[:] = b'{"schema": 1, "images": 96, "steps": 3}\n'
    elif how == "zeros":
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    file.write_bytes(content)


def rename(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """The folder gets another name between two runs."""
    target = out.parent / rng.choice(
        (f"{out.name}-moved", f"{out.name} with a blank", f"{out.name}-é", f"{out.name}x/deep/er")
    )
    fault.what = f"renamed to {target.name}"
    before = {trial: (ino, when) for trial, (ino, when) in marks(out).items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    out.rename(target)
    finish(fault, lab, target, before)


def rename_in_run(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """The folder gets another name while its driver is at work: it ends with one message, and goes on there."""
    number, target = rng.randrange(5, 90), out.parent / f"{out.name}-moved"
    fault.what = f"renamed at write {number}"

    def move() -> None:
        with contextlib.suppress(OSError):
            out.rename(target)

    ended = Run(lab.file, out, fault.executor, at_write(out, number, move)).wait()
    first(fault, ended, 0, 2, 1)
    if target.exists():
        if ended.code == 0 and out.exists():
            fault.wrong.append(f"it ended well, in two folders: {sorted(p.name for p in out.rglob('*'))[:8]}")
        before = marks(target)
        finish(fault, lab, target, before)
    else:
        finish(fault, lab, out)


def clock(fault: Fault, lab: Lab, out: Path, rng: random.Random) -> None:
    """The clock is set back or on: by what this process is told, and by the times that files have."""
    shift, spread = rng.choice((-(10**8), -86_400, -3600, -1, 3600, 10**8)), rng.choice((0, 86_400, -86_400))
    fault.what = f"clock {shift:+} s, files {spread:+} s"
    if spread:
        for path in out.rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() + spread * rng.random(), time.time() + spread * rng.random()))

    def other_clock() -> None:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + shift
        time.time_ns = lambda: now_ns() + shift * 10**9

    before = marks(out)
    first(fault, Run(lab.file, out, fault.executor, other_clock).wait(), 0)
    finish(fault, lab, out, before)


@contextlib.contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """Mount a disk of its own. Raises OSError where that is not allowed."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        raise PermissionError("only root may mount a file system, and not everywhere")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# What is done, in which state the folder is before, by which executors, and how often of all.
FAULTS: dict[str, tuple[Callable[[Fault, Lab, Path, random.Random], None], str, tuple[str, ...], int]] = {
    "damaged, interrupted": (damage, "interrupted", ("within",), 20),
    "damaged, complete": (damage, "complete", ("within",), 15),
    "kill -9 of the driver at a write": (kill_at_write, "none", ("within",), 20),
    "kill -9 of the driver at a moment": (kill_at_clock, "none", ("within", "local"), 10),
    "kill -9 of a worker": (kill_worker, "none", ("local", "workers", "local", "ray"), 6),
    "stopped and continued": (stop, "none", ("within", "local", "workers", "ray"), 5),
    "full disk": (full_disk, "none", ("within", "local"), 7),
    "files may not grow": (file_sizes, "none", ("within",), 5),
    "renamed between runs": (rename, "interrupted", ("within",), 4),
    "renamed in a run": (rename_in_run, "none", ("within",), 4),
    "another clock": (clock, "interrupted", ("within",), 4),
    "an object store answers 503": (object_store, "none", ("within",), 8),
    "a node lost or added": (nodes, "none", ("ray",), 1),
}


def possible() -> list[str]:
    """Return the kinds of faults whose packages are here: a store that answers 503 takes a server of its own."""
    served = all(importlib.util.find_spec(name) for name in ("moto", "werkzeug", "s3fs"))
    return [kind for kind, (do, *_) in FAULTS.items() if served or do is not object_store]


def interrupted(lab: Lab, writes: tuple[int, ...] = (45, 75)) -> list[Path]:
    """Return folders of runs that were killed at these changes: in the middle of a training, and after a record."""
    found = []
    for number in writes:
        out = lab.place / f"interrupted-{number}"
        Run(lab.file, out, "within", at_write(out, number, killed)).wait()
        found.append(out)
    return found


def inject(lab: Lab, stopped: list[Path], kind: str, number: int) -> Fault:
    """Inject one fault, and see the study through."""
    do, state, executors, _ = FAULTS[kind]
    rng = random.Random(f"{kind} {number}")
    fault = Fault(kind, executors[number % len(executors)], number)
    name = f"f{os.getpid()}-{number}-{rng.randrange(10**6)}"
    out = lab.place / name
    if state != "none":
        lab.copy(lab.undisturbed if state == "complete" else rng.choice(stopped), name)
    try:
        do(fault, lab, out, rng)
        if do not in (damage, full_disk, rename, rename_in_run, clock, object_store):
            finish(fault, lab, out)
    except Exception as error:  # noqa: BLE001 - whatever comes out of it is what is looked for
        fault.wrong.append(f"{type(error).__name__}: {error}")
    if not fault.wrong:
        for path in lab.place.glob(f"{name}*"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    return fault


def schedule(count: int, kinds: list[str]) -> list[tuple[str, int]]:
    """Return which faults are injected: each kind in its share, mixed, the same for a count's beginning."""
    rng, wheel = random.Random(0), [kind for kind in kinds for _ in range(FAULTS[kind][3])]
    rounds = [rng.sample(wheel, len(wheel)) for _ in range(-(-count // len(wheel)))]
    return [(kind, number) for number, kind in enumerate(kind for one in rounds for kind in one)][:count]
