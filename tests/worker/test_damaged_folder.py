"""Whatever happens to the files of an interrupted trial, it ends with the numbers of an undisturbed one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from segments_for_tests import after, candidate, job, read, run, timeless

from ablate.kinds.executor import Stopped
from ablate.training import loop

HOW = ("bit", "cut", "empty", "gone", "other", "text", "longer")
DAMAGE = st.tuples(st.integers(0, 40), st.sampled_from(HOW), st.floats(0, 1, exclude_max=True))
CASES = int(os.environ.get("ABLATE_CASES", "15"))


@pytest.fixture(scope="module")
def whole() -> Iterator[dict[str, Any]]:
    """A trial that nobody disturbed, with a checkpoint at every step."""
    patch = pytest.MonkeyPatch()
    patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    patch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        made = job(Path(folder), candidate(dropout=0.3))
        run(made)
        yield made
    patch.undo()


@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(stop=st.integers(1, 14), damages=st.lists(DAMAGE, min_size=1, max_size=4))
def test_a_damaged_folder_gives_the_numbers_of_a_whole_one(
    whole: dict[str, Any], stop: int, damages: list[tuple[int, str, float]]
) -> None:
    """Checkpoints, curve, job, progress: each file that an interruption leaves, in every way that a disk knows."""
    with tempfile.TemporaryDirectory() as folder:
        pieces = job(Path(folder), candidate(dropout=0.3))
        with pytest.raises(Stopped):
            run(pieces, after(stop))
        place = Path(pieces["folder"])
        for number, how, where in damages:
            files = sorted((file for file in place.rglob("*") if file.is_file()), key=weights_first)
            if files:
                damage(files[number % len(files)], how, where, files[(number + 1) % len(files)])
        run(pieces)
        ours, theirs = (timeless(read(one, "record.json")) for one in (pieces, whole))
        assert ours == theirs
        assert timeless(read(pieces, "curve.json")) == timeless(read(whole, "curve.json"))
        assert (place / "samples.npy").read_bytes() == Path(whole["folder"], "samples.npy").read_bytes()


def weights_first(file: Path) -> tuple[bool, int, str]:
    """The newest weights first: a wrong bit in them changes numbers, and nothing else."""
    weights = file.suffix == ".safetensors"
    return not weights, -int(file.stem) if weights else 0, str(file)


def damage(file: Path, how: str, where: float, other: Path) -> None:
    """Do to a file what a disk, a careless hand or a crash does."""
    content = bytearray(file.read_bytes())
    at = int(where * len(content))
    if how == "bit" and content:
        content[-1 - int(where**2 * len(content))] ^= 64  # mostly at the end, where a file of weights has them
    elif how == "cut":
        del content[at:]
    elif how == "empty":
        content.clear()
    elif how == "longer":
        content += content[at:]
    elif how == "text":
        content[:] = b'{"schema": 1, "images": 96, "steps": 3}'
    elif how == "other":
        content[:] = other.read_bytes()
    file.unlink()
    if how != "gone":
        file.write_bytes(content)
