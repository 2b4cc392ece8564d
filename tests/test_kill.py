"""Real processes, killed at any moment: the same command goes on, and the tables are as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kills_for_tests import (
    STUDY,
    assert_same_tables,
    checkpoints,
    command,
    environment,
    lay_out,
    marks,
    run,
    short_folder,
    started,
    until,
)

from ablate.execute.ray import Ray

needs_ray = pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")
EXECUTORS = ["local", pytest.param("ray", marks=needs_ray)]
OPTIONS = {"local": ("--executor", "local"), "ray": ("--executor", "ray", "--workers", "2")}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def file(place: Path) -> Path:
    return lay_out(place)


@pytest.fixture(scope="module")
def undisturbed(place: Path, file: Path) -> Path:
    out = place / "undisturbed"
    ran = run(file, out, *OPTIONS["local"])
    assert ran.returncode == 0, ran.stderr
    assert len(marks(out)) == 4
    return out


def finish(file: Path, out: Path, executor: str, undisturbed: Path) -> None:
    """Run to the end; compare with the undisturbed run, and see that nothing measured was measured again."""
    before = marks(out)
    ran = run(file, out, *OPTIONS[executor])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert_same_tables(out, undisturbed)
    after = marks(out)
    assert {trial: after[trial] for trial in before} == before
    hidden = {path.name for path in out.rglob(".*") if path.is_file()}
    assert hidden <= {".lock", ".driver"}


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_driver_killed_again_and_again(tmp_path: Path, file: Path, undisturbed: Path, executor: str) -> None:
    """At its first writings, in the middle of a training, then when chance decides: in imports, tables, figures."""
    out, chance = tmp_path / "out", random.Random(executor)
    for mark in (".driver", "lock.json", "optuna.db", "trials") if executor == "local" else ():
        with started(file, out, *OPTIONS[executor]) as driver:
            until((out / mark).exists, 60, f"no {mark}")
            driver.kill()
    with started(file, out, *OPTIONS[executor]) as driver:
        until(lambda: checkpoints(out) > 0, 120, "no training began")
        driver.kill()
    for _ in range(2):
        before = marks(out)
        with started(file, out, *OPTIONS[executor]) as driver:
            time.sleep(chance.uniform(3, 10))
            driver.kill()
        after = marks(out)
        assert {trial: after[trial] for trial in before} == before
    finish(file, out, executor, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_interrupt_is_resumable(tmp_path: Path, file: Path, undisturbed: Path, executor: str) -> None:
    out = tmp_path / "out"
    with started(file, out, *OPTIONS[executor]) as driver:
        until(lambda: checkpoints(out) > 0, 120, "no training began")
        code, errors = driver.interrupt()
        assert code == 130
        assert errors.startswith("interrupted; what was measured is kept. To go on: ablate run ")
        assert "Traceback" not in errors and errors.count("\n") == 1
        until(lambda: not driver.family(), 10, "something of it is left")
    finish(file, out, executor, undisturbed)


@needs_ray
@pytest.mark.slow
def test_worker_killed_goes_on_from_its_checkpoint(tmp_path: Path, file: Path, undisturbed: Path) -> None:
    out = tmp_path / "out"
    with started(file, out, *OPTIONS["ray"]) as driver:
        until(lambda: checkpoints(out) > 0, 120, "no training began")
        workers = [process for process in driver.family() if _name(process).startswith("ray::")]
        busy = max(workers, key=lambda process: process.cpu_times().user)
        busy.send_signal(signal.SIGKILL)
        output, errors = driver.process.communicate(timeout=300)
        assert (driver.process.returncode, errors) == (0, "")
        assert output.count("its worker was lost; it goes on from its checkpoint") == 1
    assert_same_tables(out, undisturbed)
    assert not list(out.glob("trials/*/failure.json"))


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


# --- two at once, another study ------------------------------------------------------------------


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path, place: Path) -> None:
    out = tmp_path / "out"
    file = lay_out(place / "long", STUDY.replace("images: 4_800", "images: 4_800_000"))  # it is at work until killed
    with started(file, out, *OPTIONS["local"]) as driver:
        until(lambda: checkpoints(out) > 0, 120, "no training began")
        second = run(file, out, *OPTIONS["local"])
        assert second.returncode == 2
        assert second.stderr == f"error: another `ablate run` is at work in {out}; see `ablate status {out}`\n"
        assert driver.process.poll() is None


def test_a_folder_of_another_study_is_refused_with_what_differs(tmp_path: Path, file: Path, undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()}
    other = lay_out(tmp_path, STUDY.replace("images: 4_800", "images: 640").replace("width: 32", "width: 16"))
    ran = run(other, undisturbed, *OPTIONS["local"])
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert "budget.images: 4800 -> 640" in ran.stderr and "base.backbone.width: 32 -> 16" in ran.stderr
    assert "--out" in ran.stderr
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()} == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path, file: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    ran = run(file, tmp_path, *OPTIONS["local"])
    assert ran.returncode == 2 and "holds something that is no study" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


# --- a machine that refuses ----------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own under a folder; skips where that is not allowed."""
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("only root may mount a file system, and not everywhere")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "room"), [("local", 20), pytest.param("ray", 200, marks=needs_ray)])
def test_full_disk_is_one_message_and_room_lets_it_go_on(
    tmp_path: Path, file: Path, undisturbed: Path, executor: str, room: int
) -> None:
    """Kibibytes that are left: too few for the ledger, for a checkpoint."""
    disk = tmp_path / "disk"
    with small_disk(disk, "8m"):
        ballast = disk / "ballast"
        ballast.write_bytes(bytes((8192 - room) * 1024))
        out = disk / "out"
        full = run(file, out, *OPTIONS[executor])
        assert full.returncode == 2, full.stderr
        assert full.stderr.startswith("error: ") and full.stderr.count("\n") == 1, full.stderr
        assert "No space left on device" in full.stderr or "disk is full" in full.stderr or "disk I/O" in full.stderr
        assert "give the same command again" in full.stderr
        assert not list(out.glob("trials/*/failure.json"))
        ballast.unlink()
        finish(file, out, executor, undisturbed)


@pytest.mark.slow
def test_files_that_may_not_grow(tmp_path: Path, file: Path, undisturbed: Path) -> None:
    """The same where no file system can be mounted: a limit of file sizes."""
    out = tmp_path / "out"
    ran = subprocess.run(
        command(file, out, *OPTIONS["local"]),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY)),
    )
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.count("\n") == 1 and "File too large" in ran.stderr
    finish(file, out, "local", undisturbed)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody who may not write")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, sys.executable, "-c", "import ablate"], capture_output=True, check=False).returncode:
        pytest.skip("nobody else may run this Python")
    with short_folder() as place:
        place.chmod(0o755)
        file = lay_out(place)
        out = place / "out"
        ran = subprocess.run(
            [*nobody, *command(file, out, *OPTIONS["local"])],
            env=environment(ABLATE_CACHE=str(tmp_path / "cache"), HOME="/nonexistent"),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 2, ran.stderr
        assert ran.stderr == f"error: cannot write to {out}: Permission denied\n"
        assert sorted(path.name for path in place.iterdir()) == ["killed.yaml", "probes.py"]
