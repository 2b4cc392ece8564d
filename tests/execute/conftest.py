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


@pytest.fixture(scope="session")
def local_pool() -> Iterator[Pool]:
    with Local().start(WORK, "cpu") as pool:
        yield pool


@pytest.fixture(params=["local", "in_process", "ray"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    if request.param != "in_process":
        yield request.getfixturevalue(f"{request.param}_pool")
    else:
        with Local(in_process=True).start(WORK, "cpu") as started:
            yield started
