"""The pools that tests share: starting Ray takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ablate.execute.local import Local
from ablate.execute.ray import Ray
from ablate.kinds.executor import Pool

WORK = "work_for_tests:work"


@pytest.fixture(scope="session")
def ray_pool() -> Iterator[Pool]:
    if not Ray.available():
        pytest.skip("Ray is not installed")
    with Ray(workers=2, cpus=1).start(WORK, "cpu") as pool:
        yield pool


@pytest.fixture(params=["local", "ray"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_pool")
    else:
        with Local().start(WORK, "cpu") as started:
            yield started
