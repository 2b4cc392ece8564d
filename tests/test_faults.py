"""The small form of `benchmarks/faults.py`: whatever happens to a study or its folder, it comes to the same tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_runs import HANGS, Lab
from injected_faults import inject, interrupted
from kills_for_tests import short_folder

pytestmark = pytest.mark.timeout(4 * HANGS)
ALL = Path(__file__).parents[1] / "benchmarks" / "faults.py"
QUICK = ("damaged, interrupted", "renamed between runs", "another clock")  # a run each


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with short_folder() as place:
        made = Lab(place)
        yield made
        made.close()


@pytest.fixture(scope="module")
def stopped(lab: Lab) -> list[Path]:
    return interrupted(lab, (60,))


@pytest.mark.parametrize("kind", QUICK)
def test_a_fault_changes_no_table(lab: Lab, stopped: list[Path], kind: str) -> None:
    fault = inject(lab, stopped, kind, 0)
    assert not fault.wrong, fault


@pytest.mark.slow
@pytest.mark.thorough
def test_a_hundred_faults_change_no_table(tmp_path: Path) -> None:
    """Each kind in its share, always the same ones.

    Runs are forked, and a fork of a process that is connected to Ray cannot ask a cluster; so not from this one.
    """
    words = [sys.executable, str(ALL), "100", "--csv", str(tmp_path / "faults.csv")]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
