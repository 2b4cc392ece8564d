"""How many workers fit, and what each gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.errors import InputError
from ablate.execute.ray import Ray
from ablate.execute.share import Resources, Share, cores, machine, share

GIB = 1 << 30


@pytest.mark.parametrize(
    ("workers", "cpus", "expected"),
    [
        (None, None, Share(8, 1)),
        (2, None, Share(2, 4)),
        (None, 3, Share(2, 3)),
        (3, 5, Share(3, 5)),  # what is given counts, also where it is more than there is
        (32, None, Share(32, 1)),
    ],
)
def test_on_the_cpu(workers: int | None, cpus: int | None, expected: Share) -> None:
    assert share(Resources(8, memory=64 * GIB), workers, cpus, None, "cpu") == expected


def test_memory_bounds_the_workers() -> None:
    assert share(Resources(64, memory=16 * GIB), None, None, None, "cpu") == Share(8, 8)
    assert share(Resources(64, memory=GIB), None, None, None, "cpu") == Share(1, 64)


@pytest.mark.parametrize(
    ("gpus", "workers", "each", "expected"),
    [
        (1, None, None, Share(1, 16, 1.0)),
        (4, None, None, Share(4, 4, 1.0)),
        (1, None, 0.25, Share(4, 4, 0.25)),
        (1, 3, None, Share(3, 5, 0.3333)),
        (2, 3, None, Share(3, 5, 0.5)),
        (4, 2, None, Share(2, 8, 1.0)),
        (1, 8, 0.5, Share(2, 8, 0.5)),  # no more than fit: the others would wait for ever
        (4, None, 2.0, Share(2, 8, 2.0)),
        (2, None, 0.4, Share(4, 4, 0.4)),  # two a GPU: no worker is spread over two
    ],
)
def test_on_gpus(gpus: int, workers: int | None, each: float | None, expected: Share) -> None:
    assert share(Resources(16, gpus), workers, None, each, "cuda") == expected


def test_a_worker_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(InputError, match="asks for 2 GPUs, and there are 1"):
        share(Resources(16, 1), None, None, 2.0, "cuda")
    with pytest.raises(InputError):
        share(Resources(16, 0), None, None, None, "cuda")
    with pytest.raises(ValueError, match="fraction of one GPU"):
        Ray(gpus=1.5)


@given(
    st.integers(1, 128),
    st.integers(1, 16),
    st.none() | st.integers(1, 64),
    st.none() | st.floats(0.01, 1),
    st.booleans(),
)
def test_gpus_are_never_promised_twice(
    cpus: int, gpus: int, workers: int | None, each: float | None, cuda: bool
) -> None:
    shared = share(Resources(cpus, gpus), workers, None, each, "cuda" if cuda else "cpu")
    assert shared.workers >= 1
    assert shared.cpus >= 1
    assert shared.cpus * shared.workers <= max(cpus, shared.workers)
    assert shared.workers * shared.gpus <= gpus + 1e-6


def test_a_containers_quota_bounds_the_cores(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    here = cores(tmp_path / "absent")
    quota.write_text("100000 100000\n")
    assert cores(quota) == 1
    quota.write_text("max 100000\n")
    assert cores(quota) == here
    assert machine("cpu").cpus == cores()
