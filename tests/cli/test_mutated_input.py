"""The small form of `benchmarks/mutations.py`: what is wrong in a study file or a command line is one message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kills_for_tests import short_folder
from tried_mutations import report, try_command_lines, try_studies


@pytest.fixture
def place() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


def test_mutated_studies_are_refused_in_one_message(place: Path) -> None:
    tried = try_studies(7, 40, place, whole=10**9)
    assert len(tried) == 40 and any(one.outcome == "exit code 2" for one in tried)
    assert not report(tried), report(tried)


def test_mutated_command_lines_are_refused_in_one_message(place: Path) -> None:
    tried = try_command_lines(7, 12, place)
    assert len(tried) == 12 and any(one.outcome == "exit code 2" for one in tried)
    assert not report(tried), report(tried)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(3000)
def test_a_hundred_of_each(place: Path) -> None:
    """Some of the studies that turn out to be in order are planned to the end."""
    for tries in (try_studies, try_command_lines):
        where = place / tries.__name__
        where.mkdir()
        tried = tries(8, 100, where)
        assert not report(tried), report(tried)
