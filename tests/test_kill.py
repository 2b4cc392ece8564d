"""Real processes, killed at any moment: the same command goes on, and the tables are as if nothing had happened."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
from kills_for_tests import (
    LONG,
    STUDY,
    assert_same_tables,
    checkpoints,
    command,
    environment,
    errors,
    lay_out,
    marks,
    run,
    short_folder,
    started,
    tables,
    until,
)
from segments_for_tests import CACHE

from ablate.cli import main
from ablate.execute.ray import Ray

pytestmark = pytest.mark.timeout(3 * LONG)
needs_ray = pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")
OPTIONS = {
    "local": ("--executor", "local"),
    "ray": ("--executor", "ray", "--set", "executor={type: ray, workers: 1, cpus: 1}"),  # one thread, as undisturbed
    "within": ("--executor", "local", "--set", "executor={type: local, in_process: true}"),
}


def run_here(file: Path, out: Path, *more: str) -> tuple[int, str]:
    """`ablate run` to its end in this process, where everything is imported: exit code, stderr."""
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(told), pytest.raises(SystemExit) as ended:
        patch.setenv("ABLATE_CACHE", str(CACHE))
        patch.setattr("ablate.runtime.patient.SECONDS", LONG)
        with contextlib.redirect_stdout(io.StringIO()):
            main(["run", str(file), "--out", str(out), "--device", "cpu", *OPTIONS["within"], *more])
    return int(str(ended.value.code)), errors(told.getvalue())


def forked(file: Path, out: Path, log: Path, *more: str) -> int:
    """`ablate run` in a process that is forked from this one, so that it need not import anything; its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads that have ended are no matter
        pid = os.fork()
    if pid == 0:
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout = sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), line_buffering=True)
            os.environ["ABLATE_CACHE"] = str(CACHE)
            main(["run", str(file), "--out", str(out), "--device", "cpu", *OPTIONS["within"], *more])
        finally:
            os._exit(1)
    return pid


def killed_when(moment: Callable[[], object], file: Path, out: Path, log: Path, *more: str) -> None:
    """A run in one process, which is killed at that moment."""
    pid = forked(file, out, log, *more)

    def there() -> bool:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        found = bool(moment())
        assert found or not ended, ("that moment never came", log.read_text())
        return found

    try:
        until(there, LONG, "that moment never came")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


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
    assert run_here(file, out, "--no-figures") == (0, "")
    assert len(marks(out)) == 4
    return out


def finish(file: Path, out: Path, undisturbed: Path) -> None:
    """Run to the end; compare with the undisturbed run, and see that nothing measured was measured again."""
    before = marks(out)
    assert run_here(file, out) == (0, "")
    as_undisturbed(out, undisturbed, before)


def as_undisturbed(out: Path, undisturbed: Path, before: dict[str, tuple[int, int]]) -> None:
    """The same tables, the records of before, and nothing hidden that is left."""
    assert_same_tables(out, undisturbed)
    after = marks(out)
    assert {trial: after[trial] for trial in before} == before
    hidden = {path.name for path in out.rglob(".*") if path.is_file()}
    assert hidden <= {".lock", ".driver", ".launches.jsonl.lock"}


@pytest.mark.slow
def test_driver_killed_again_and_again(tmp_path: Path, file: Path, undisturbed: Path) -> None:
    """At its first writings, in the middle of a training after a record, while it writes tables and figures."""
    out = tmp_path / "out"

    def writes() -> bool:
        return (out / "lock.json").exists()

    def trains() -> bool:
        return len(marks(out)) > len(before) and bool(checkpoints(out))

    def draws() -> bool:
        return any(out.glob("figures/*.png"))

    for moment in (writes, trains, draws):
        before = marks(out)
        if moment is trains:  # a driver and a worker
            with started(file, out, *OPTIONS["local"], sleep=0.05) as driver:
                driver.until(moment, "that moment never came")
                driver.kill()
        else:
            killed_when(moment, file, out, tmp_path / "log", "--figures" if moment is draws else "--no-figures")
        after = marks(out)
        assert {trial: after[trial] for trial in before} == before
    finish(file, out, undisturbed)


@needs_ray
@pytest.mark.slow
@pytest.mark.thorough
def test_on_ray_a_killed_driver_an_interrupt_and_a_killed_worker_change_no_result(
    tmp_path: Path, file: Path, undisturbed: Path
) -> None:
    """One after the other in one folder. An interrupt on `local`: tests/cli/test_cli_run.py."""
    out = tmp_path / "out"

    def trains() -> bool:
        return bool(checkpoints(out) - earlier)

    earlier = checkpoints(out)
    with started(file, out, *OPTIONS["ray"]) as driver:
        driver.until(trains, "no training began")
        driver.kill()
    earlier, before = checkpoints(out), marks(out)
    with started(file, out, *OPTIONS["ray"]) as driver:
        driver.until(trains, "no training went on")
        code, told = driver.interrupt()
        assert code == 130
        assert told.startswith("interrupted; what was measured is kept. To go on: ablate run ")
        assert "Traceback" not in told and told.count("\n") == 1
        until(lambda: not driver.family(), LONG, "something of it is left")
    earlier = checkpoints(out)
    with started(file, out, *OPTIONS["ray"]) as driver:
        driver.until(trains, "no training went on")
        workers = [process for process in driver.family() if _name(process).startswith("ray::")]
        busy = max(workers, key=lambda process: process.cpu_times().user)
        busy.send_signal(signal.SIGKILL)
        output, told = driver.process.communicate(timeout=LONG)
        assert (driver.process.returncode, errors(told)) == (0, "")
        assert output.count("its worker was lost; it goes on from its checkpoint") == 1
    as_undisturbed(out, undisturbed, before)
    assert not list(out.glob("trials/*/failure.json"))


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


# --- another study --------------------------------------------------------------------------------


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], str]:
    """What `ablate run` says when it refuses, asked in this process: stderr of exit code 2."""
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))

    def ask(file: Path, out: Path) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["run", str(file), "--out", str(out), "--device", "cpu", *OPTIONS["local"]])
        told = capsys.readouterr()
        assert (ended.value.code, told.out) == (2, "")
        return errors(told.err)

    return ask


def test_a_folder_of_another_study_is_refused_with_what_differs(
    tmp_path: Path, undisturbed: Path, refused: Callable[[Path, Path], str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()}
    other = lay_out(tmp_path, STUDY.replace("images: 640", "images: 320").replace("width: 160", "width: 16"))
    told = refused(other, undisturbed)
    assert "Traceback" not in told
    assert "budget.images: 640 -> 320" in told and "base.backbone.width: 160 -> 16" in told
    assert "--out" in told
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()} == before


def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, file: Path, refused: Callable[[Path, Path], str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    assert "holds something that is no study" in refused(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_its_lock_is_refused_with_the_name_of_what_is_gone(
    tmp_path: Path, file: Path, undisturbed: Path, refused: Callable[[Path, Path], str]
) -> None:
    out = Path(shutil.copytree(undisturbed, tmp_path / "out"))
    (out / "lock.json").unlink()
    assert "was a study's folder, and its lock.json is gone" in refused(file, out)


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
@pytest.mark.thorough
@pytest.mark.parametrize(("executor", "room"), [("within", 20), pytest.param("ray", 200, marks=needs_ray)])
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
        told = errors(full.stderr)
        assert told.startswith("error: ") and told.count("\n") == 1, told
        assert "No space left on device" in told or "disk is full" in told or "disk I/O" in told
        assert "give the same command again" in told
        assert not list(out.glob("trials/*/failure.json"))
        ballast.unlink()
        finish(file, out, undisturbed)


@pytest.mark.slow
@pytest.mark.thorough
def test_files_that_may_not_grow(tmp_path: Path, file: Path, undisturbed: Path) -> None:
    """The same where no file system can be mounted: a limit of file sizes."""
    out = tmp_path / "out"
    ran = subprocess.run(
        command(file, out, *OPTIONS["local"]),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY)),
    )
    assert ran.returncode == 2, ran.stderr
    told = errors(ran.stderr)
    assert told.count("\n") == 1 and "File too large" in told
    finish(file, out, undisturbed)


ONE_AFTER_THE_OTHER = """
import json, os, sys
from ablate.cli import main
for cache in sys.argv[2:]:
    os.environ["ABLATE_CACHE"] = cache
    try:
        main(json.loads(sys.argv[1]))
    except SystemExit as ended:
        print(ended.code, flush=True)
"""


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody who may not write")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, sys.executable, "-c", "import ablate"], capture_output=True, check=False).returncode:
        pytest.skip("nobody else may run this Python")
    with short_folder() as place, short_folder() as cache, short_folder() as own:
        place.chmod(0o755)
        own.chmod(0o777)
        file = lay_out(place)
        out = place / "out"

        words = ["run", str(file), "--out", str(out), "--device", "cpu", "--no-figures", *OPTIONS["local"]]
        caches = [str(cache), str(own)]
        ran = subprocess.run(
            [*nobody, sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(words), *caches],
            env=environment(HOME="/nonexistent"),
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert (ran.returncode, ran.stdout) == (0, "2\n2\n"), ran.stderr
        assert errors(ran.stderr).splitlines() == [
            f"error: the cache {cache} cannot be written (Permission denied); name another folder in ABLATE_CACHE",
            f"error: cannot write to {out}: Permission denied",
        ]
        assert sorted(path.name for path in place.iterdir()) == ["killed.yaml", "probes.py"]


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_while_a_larger_budget_is_trained_it_comes_to_the_same(
    tmp_path: Path, file: Path, undisturbed: Path
) -> None:
    """In the middle of a trial that began with the checkpoint of a shorter one; what was longest stays."""
    out, half = tmp_path / "out", tmp_path / "half"
    smaller = lay_out(half, STUDY.replace("images: 640", "images: 320"))
    assert run_here(smaller, out) == (0, "")

    def trains() -> bool:
        return (out / "budget-320-images/trials").is_dir() and bool(marks(out)) and bool(checkpoints(out))

    with started(file, out, *OPTIONS["local"]) as driver:
        driver.until(trains, "no trial went on")
        driver.kill()
    before = marks(out)
    code, told = run_here(file, out)
    assert code == 0 and " of 4 trials go on from their checkpoints in budget-320-images, after 320 images" in told
    after = marks(out)
    assert {trial: after[trial] for trial in before} == before
    for ours, theirs in zip(tables(out), tables(undisturbed), strict=True):
        begins = ours.pop("continued_images").tolist() if "continued_images" in ours else []
        assert set(begins) <= {320.0}
        pd.testing.assert_frame_equal(ours.drop(columns="continued_from", errors="ignore"), theirs)
