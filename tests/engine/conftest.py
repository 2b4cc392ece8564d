"""The cache of tests for every engine."""

from __future__ import annotations

import pytest
from segments_for_tests import CACHE


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(CACHE))
