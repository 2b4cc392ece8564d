"""A whole study by `ablate worker`, from shells of its own, while workers are killed and stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kills_for_tests import LONG, assert_same_tables, at_work, errors, lay_out, run, started, until, worker


@pytest.mark.slow
@pytest.mark.thorough
def test_a_study_by_workers_that_are_killed_stopped_and_told_to_go_is_the_same_study(tmp_path: Path) -> None:
    file = lay_out(tmp_path)
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    assert run(file, undisturbed, "--executor", "local").returncode == 0
    with started(file, out, "--executor", "workers", "--set", "executor={type: workers, lease: 3}") as driver:
        driver.until(lambda: (out / "workers" / "waiting").exists(), "it put up no job")
        workers = [worker(out) for _ in range(2)]
        try:
            for end in (signal.SIGKILL, signal.SIGSTOP, signal.SIGUSR1):
                driver.until(lambda: at_work(out), "nobody trains")
                victim = at_work(out)[0]
                family = [victim, *victim.children()]
                for process in family[: 1 if end == signal.SIGUSR1 else None]:
                    process.send_signal(end)
                if end == signal.SIGSTOP:
                    driver.until(lambda victim=victim: victim not in at_work(out), "nobody took it over")
                    for process in family:
                        process.send_signal(signal.SIGCONT)
                else:
                    workers.append(worker(out, sleep=0.01))
            _, told = driver.process.communicate(timeout=LONG)
            assert driver.process.returncode == 0, told
            assert not [line for line in errors(told).splitlines() if not line.startswith("still ")]
            until(lambda: all(one.poll() is not None for one in workers), LONG, "workers go on without work")
            codes = sorted(one.returncode for one in workers)
            assert codes[0] == -signal.SIGKILL and codes[-1] == 130 and set(codes[1:-1]) == {0}
        finally:
            for one in workers:
                one.kill()
                one.communicate()
    assert_same_tables(out, undisturbed)
    assert not (out / "workers").exists() and not [t for t in (out / "trials").iterdir() if t.is_symlink()]


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "ablate.cli", "worker", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and "is no study's folder; begin one there: ablate run" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1 and not list(tmp_path.iterdir())
