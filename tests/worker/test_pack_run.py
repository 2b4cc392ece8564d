"""Several trials in one process, trained as one: records, checkpoints and failures are each trial's own."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from segments_for_tests import KNOWN, after, job, read, run, timeless

from ablate.candidates.candidate import Candidate, compose
from ablate.kinds.executor import Stopped
from ablate.training import loop
from ablate.training.learner import Learner

TOLERANCE = 1e-3  # of losses and metrics: rounding, which a training carries on and a metric of 8 samples magnifies


def candidate(**parts: Any) -> Candidate:
    spec = {
        "backbone": {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2},
        "solver": {"type": "ddim", "steps": 2},
        "batch": 32,
    }
    return compose({**spec, **parts}, KNOWN)


BASE = candidate()
FASTER = candidate(optimizer={"type": "adamw", "lr": 4e-3}, schedule="cosine", weighting="min_snr")
WILD = candidate(optimizer={"type": "sgd", "lr": 10.0}, target="x0")


def pack(*jobs: dict[str, Any]) -> dict[str, Any]:
    return {"job": "pack-1", "folder": jobs[0]["folder"], "device": "cpu", "threads": 1, "members": list(jobs)}


def trials(folder: Path, **more: Any) -> list[dict[str, Any]]:
    return [job(folder, BASE, seed=0, **more), job(folder, BASE, seed=1, **more), job(folder, FASTER, seed=0, **more)]


def alike(one: Any, other: Any) -> bool:
    """Equal but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two trials in other folders: record and curve."""
    records = [timeless(read(own, "record.json")) for own in (one, other)]
    for record in records:
        record.pop("packed", None)
    assert alike(*records)
    assert alike(*(timeless(read(own, "curve.json")) for own in (one, other)))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The same trials, each by itself."""
    jobs = trials(tmp_path_factory.mktemp("alone"))
    for one in jobs:
        run(one)
    return jobs


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look and a checkpoint at every step."""
    for name, value in {"CHECKPOINT_SECONDS": 0.0, "CHECKPOINT_SHARE": math.inf, "LOOK_SECONDS": 0.0}.items():
        monkeypatch.setattr(loop, name, value)


def test_records_of_a_pack_are_those_of_its_trials_alone(tmp_path: Path, alone: list[dict[str, Any]]) -> None:
    jobs = trials(tmp_path)
    report = run(pack(*jobs))
    assert report["status"] == "done"
    assert [(one["job"], one["status"]) for one in report["members"]] == [(one["job"], "done") for one in jobs]
    for one, other in zip(jobs, alone, strict=True):
        assert_alike(one, other)
        record = read(one, "record.json")
        assert record["packed"] == 3
        assert record["train_memory_bytes"] is record["peak_memory_bytes"] is None
        assert record["overhead_seconds"] >= 0
        assert record["train_seconds"] > 0
        assert not Path(one["folder"], "progress.json").exists()
    assert run(pack(*jobs))["members"] == report["members"]  # nothing that was measured is measured again


@pytest.mark.parametrize("packed_first", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_a_checkpoint_of_a_pack_is_an_ordinary_one(
    tmp_path: Path, alone: list[dict[str, Any]], often: None, packed_first: bool
) -> None:
    """Interrupted in a pack, it goes on by itself; interrupted by itself, it goes on in a pack, beside others."""
    jobs = trials(tmp_path)
    if packed_first:
        with pytest.raises(Stopped):
            run(pack(*jobs), after(3 * 5))
        assert all(list(Path(one["folder"], "checkpoint").glob("*.json")) for one in jobs)
        for one in jobs:
            run(one)
    else:
        with pytest.raises(Stopped):
            run(jobs[1], after(5))
        run(pack(*jobs))
    for one, other in zip(jobs, alone, strict=True):
        assert_alike(one, other)


def test_killed_in_the_midst_it_goes_on(tmp_path: Path, alone: list[dict[str, Any]], often: None) -> None:
    """kill -9 of the process that trains the pack, in any step after the first checkpoints."""
    jobs = trials(tmp_path)
    process = os.fork()
    if not process:
        run(pack(*jobs))
        os._exit(0)
    while not all(list(Path(one["folder"], "checkpoint").glob("*.json")) for one in jobs):
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert not list(tmp_path.glob("*/record.json")), "too late"
    run(jobs[0])
    assert len(run(pack(*jobs))["members"]) == 3
    for one, other in zip(jobs, alone, strict=True):
        assert_alike(one, other)


def test_who_diverges_or_is_shorter_leaves_and_the_others_go_on(
    tmp_path: Path, alone: list[dict[str, Any]], often: None
) -> None:
    short, wild = job(tmp_path, BASE, {"steps": 3}, seed=2), job(tmp_path, WILD, {"steps": 30})
    jobs = trials(tmp_path)
    report = run(pack(short, wild, *jobs))
    states = {one["job"]: one["status"] for one in report["members"]}
    assert states == {short["job"]: "done", wild["job"]: "diverged", **{one["job"]: "done" for one in jobs}}
    assert read(wild, "record.json")["divergence"]["step"] > 1
    for one, other in zip(jobs, alone, strict=True):
        assert_alike(one, other)


def test_what_fails_in_a_pack_is_for_a_run_alone_to_tell(
    tmp_path: Path, alone: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Learner.batch

    def loose(self: Learner) -> Any:
        if self.seed == 1 and self.steps_done == 4:
            raise ZeroDivisionError("a wire is loose")
        return real(self)

    jobs = trials(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "batch", loose)
        report = run(pack(*jobs))
    assert {one["job"] for one in report["members"]} == {jobs[0]["job"], jobs[2]["job"]}
    assert "a wire is loose" in report["apart"][jobs[1]["job"]]
    run(jobs[1])
    for one, other in zip(jobs, alone, strict=True):
        assert_alike(one, other)


def test_a_pack_for_which_there_is_no_room_is_out_of_memory_before_it_begins(tmp_path: Path) -> None:
    jobs = trials(tmp_path, estimated_memory_bytes=2**55)
    report = run(pack(*jobs))
    assert report["status"] == "oom"
    assert "3 trials take about" in report["message"]
    assert not list(tmp_path.glob("*/checkpoint"))


def test_a_network_that_cannot_be_taken_as_one_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    jobs = [job(tmp_path, compose({"backbone": {"type": "probe"}, "batch": 32}, KNOWN), seed=s) for s in range(2)]
    report = run(pack(*jobs))
    assert (report["status"], report["members"]) == ("done", [])
    assert "middle.passes" in report["unfit"]
    assert not list(tmp_path.glob("*/checkpoint/*"))
