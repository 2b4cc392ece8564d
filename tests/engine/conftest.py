"""The cache of tests for every engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from segments_for_tests import CACHE

from ablate.execute.local import Local
from ablate.kinds.executor import Pool


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))


@pytest.fixture(scope="session")
def worker() -> Iterator[Pool]:
    """A worker process for one driver after the other: starting it takes seconds. A job that kills it is no matter."""
    with Local().start("ablate.worker.trial_run:run", "cpu") as pool:
        yield pool
