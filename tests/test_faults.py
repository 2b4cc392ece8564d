"""The small form of `benchmarks/faults.py`: whatever happens to a study or its folder, it comes to the same tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_runs import HANGS, Lab
from injected_faults import FAULTS, inject, interrupted, schedule
from kills_for_tests import short_folder

pytestmark = pytest.mark.timeout(4 * HANGS)
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
def test_a_hundred_faults_change_no_table(lab: Lab, stopped: list[Path]) -> None:
    """Each kind in its share, always the same ones."""
    faults = [inject(lab, stopped, kind, number) for kind, number in schedule(100, list(FAULTS))]
    assert not [fault for fault in faults if fault.wrong]
