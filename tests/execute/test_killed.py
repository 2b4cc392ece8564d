"""Whatever ends a driver, its workers end too."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from waiting_for_tests import PATIENCE, until

from ablate.execute.ray import Ray

HERE = Path(__file__).parents[1] / "helpers"
needs_ray = pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")


def family(mark: str) -> list[psutil.Process]:
    """The processes that a driver of this mark has started, and itself."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("ABLATE_TEST") == mark:
                processes.append(process)
    return processes


@dataclass
class Driver:
    """A driver whose workers are busy, in a process group of its own."""

    process: subprocess.Popen[str]
    mark: str
    temporary: Path  # its TMPDIR, short enough for Ray's sockets

    def alive(self) -> list[str]:
        """What runs of it and below it."""
        lines = []
        for process in family(self.mark):
            with contextlib.suppress(psutil.Error):
                lines.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        return lines

    def folders(self) -> list[Path]:
        """The clusters' folders that are left."""
        return list(self.temporary.glob("*ablate-ray-*"))


@contextlib.contextmanager
def driver(executor: str, folder: Path, do: str, temporary: Path) -> Iterator[Driver]:
    mark = uuid.uuid4().hex
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "ABLATE_TEST": mark, "PYTHONPATH": path, "TMPDIR": str(temporary)}
    command = [sys.executable, str(HERE / "driver_for_tests.py"), executor, str(folder), do]
    started = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    jobs = 2 if executor == "ray" else 1
    try:
        until(lambda: len(list(folder.glob("*.pid"))) == jobs or started.poll() is not None, PATIENCE, "no job began")
        assert started.poll() is None, started.communicate()
        yield Driver(started, mark, temporary)
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()
        for process in family(mark):  # only where the test fails
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@needs_ray
def test_ray_driver_killed_leaves_no_process(tmp_path: Path, temporary: Path) -> None:
    with driver("ray", tmp_path, "spin", temporary) as killed:
        assert len(killed.alive()) > 5  # the driver, Ray's servers, two workers
        killed.process.kill()
        until(lambda: not killed.alive(), PATIENCE, f"still there: {killed.alive()}")
        (folder,) = killed.folders()
    from ablate.execute.own_cluster import _sweep

    _sweep(temporary)  # as the next start does
    assert not folder.exists()


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_ray_interrupt_leaves_no_process_no_folder_and_no_noise(tmp_path: Path, temporary: Path, sent: int) -> None:
    """To the whole group, as a terminal does to all in the foreground, and `timeout` and batch systems do."""
    from ablate.execute.own_cluster import _sweep

    with driver("ray", tmp_path, "sleep", temporary) as interrupted:
        _sweep(temporary)
        assert len(interrupted.folders()) == 1  # not swept: its driver lives
        os.killpg(interrupted.process.pid, sent)
        out, errors = interrupted.process.communicate(timeout=PATIENCE)
        assert interrupted.process.returncode == 130
        assert (out, errors) == ("", "")
        assert interrupted.alive() == []
        assert interrupted.folders() == []
    assert len(list(tmp_path.glob("*.stopped"))) == 2  # they were asked first, and had time for a checkpoint
    assert not list(tmp_path.glob("*/.stop"))


def test_local_interrupt_stops_the_job(tmp_path: Path, temporary: Path) -> None:
    with driver("local", tmp_path, "sleep", temporary) as interrupted:
        os.killpg(interrupted.process.pid, signal.SIGINT)
        _, errors = interrupted.process.communicate(timeout=PATIENCE)
        assert (interrupted.process.returncode, errors) == (130, "")
        assert (tmp_path / "0.stopped").exists()
        assert interrupted.alive() == []
