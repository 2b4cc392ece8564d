"""Searches whose children inherit, in processes that are killed: `ablate run` and `ablate worker`, as from a shell.

The quick guard of the same, in one process: tests/engine/test_inherited.py.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from kills_for_tests import LONG, STUDY, at_work, checkpoints, errors, lay_out, marks, run, started, worker
from lineage_for_tests import assert_lineage
from segments_for_tests import CACHE

from ablate.execute.ray import Ray

CANDIDATES = 8
INHERITS = (
    STUDY[: STUDY.index("vary:")].replace("width: 160", "width: 24")
    + f"""\
  optimizer: {{type: adam, lr: 0.01}}
vary:
  backbone.width: [16, 24, 32]
  optimizer.lr: [0.003, 0.01, 0.03]
design:
  {{type: search, algorithm: evolution, inherit: true, trials: {CANDIDATES}, population: 4, tournament: 2, seeds: 2}}
"""
    + STUDY[STUDY.index("budget:") :].replace("images: 640", "images: 320")
)
LOCAL = ("--executor", "local")
RAY = ("--executor", "ray", "--set", "executor={type: ray, workers: 2, cpus: 1}")
WORKERS = ("--executor", "workers", "--set", "executor={type: workers, lease: 3}")
pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(3 * LONG)]


def children(out: Path) -> set[str]:
    """The trials that began with a parent's weights and are in the middle of their training."""
    found = {Path(file).parent.parent for file, _ in checkpoints(out)}
    return {folder.name for folder in found if '"of": "parent"' in _text(folder / "job.json")}


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


@pytest.fixture(autouse=True)
def _same_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))


needs_ray = pytest.mark.skipif(not Ray.available(), reason="Ray is not installed")


@pytest.mark.parametrize("executor", [LOCAL, pytest.param(RAY, marks=needs_ray)], ids=["local", "ray"])
def test_a_driver_that_is_killed_while_children_train_goes_on(tmp_path: Path, executor: tuple[str, ...]) -> None:
    file, out = lay_out(tmp_path, INHERITS), tmp_path / "out"
    known: set[str] = set()
    for _ in range(3):  # in the middle of a child each time
        before = marks(out)
        with started(file, out, *executor) as driver:
            driver.until(lambda known=frozenset(known): children(out) - known, "no child trains")
            known |= children(out)
            driver.kill()
        assert {trial: marks(out)[trial] for trial in before} == before
    before = marks(out)
    ended = run(file, out, *executor)
    assert (ended.returncode, errors(ended.stderr)) == (0, "")
    assert {trial: marks(out)[trial] for trial in before} == before
    assert assert_lineage(out, file, CANDIDATES, tmp_path / "again") >= 3


def test_workers_and_their_driver_killed_at_several_moments(tmp_path: Path) -> None:
    """A worker while a child trains; the driver, which comes back to workers that went on; all of them at once."""
    file, out = lay_out(tmp_path, INHERITS), tmp_path / "out"
    workers: list[subprocess.Popen[str]] = []
    seen: dict[str, tuple[int, int]] = {}

    def kept() -> None:
        assert {trial: marks(out)[trial] for trial in seen} == seen
        seen.update(marks(out))

    def kill(process: psutil.Process) -> None:
        for one in [process, *process.children()]:
            one.send_signal(signal.SIGKILL)

    try:
        for moment in ("worker", "driver", "all"):
            with started(file, out, *WORKERS) as driver:
                driver.until(lambda: (out / "workers" / "waiting").exists(), "it put up no job")
                while sum(one.poll() is None for one in workers) < 2:
                    workers.append(worker(out, sleep=0.1))
                driver.until(lambda: children(out), "no child trains")
                if moment == "worker":
                    driver.until(lambda: at_work(out), "nobody trains")
                    kill(at_work(out)[0])
                    count = len(marks(out))
                    driver.until(lambda count=count: len(marks(out)) > count, "nothing went on")
                driver.process.kill()
                if moment == "all":
                    for one in workers:
                        if one.poll() is None:
                            kill(psutil.Process(one.pid))
                driver.process.communicate()
            kept()
        with started(file, out, *WORKERS, sleep=0) as driver:
            driver.until(lambda: (out / "workers" / "waiting").exists(), "it put up no job")
            workers += [worker(out, sleep=0.01) for _ in range(2)]
            _, told = driver.process.communicate(timeout=LONG)
            assert driver.process.returncode == 0, told
    finally:
        for one in workers:
            one.kill()
            one.communicate()
    kept()
    assert not (out / "workers").exists() and not list(out.glob("trials/*/failure.json"))
    assert assert_lineage(out, file, CANDIDATES, tmp_path / "again") >= 3
