"""Quality during training: measured at points of it, without a trace in the training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segments_for_tests import KNOWN, after, candidate, job, read, run, timeless

from ablate.candidates.candidate import Candidate, compose
from ablate.candidates.evaluation import Evaluation, EvaluationPoints
from ablate.errors import InputError
from ablate.evaluation.sampling import NotFiniteError
from ablate.kinds.executor import Stopped
from ablate.training import checkpoint, loop
from ablate.training.checkpoint_files import SO_FAR
from ablate.training.quality import OTHER_SOURCE, QualityCurve
from ablate.worker import previews, trial_evaluation

POINTS = {"at": (0.25, 0.5, 1.0), "at_samples": 5}  # after 3 and 6 of 12 steps


def dit(**more: Any) -> Candidate:
    """A candidate whose training draws in every step (dropout, label dropout, flips), at one learning rate."""
    backbone = {"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2, "dropout": 0.3}
    spec = {"backbone": backbone, "solver": {"type": "ddim", "steps": 2}, "batch": 32}
    return compose({**spec, "guidance": {"type": "cfg", "scale": 1.5, "drop": 0.2}, **more}, KNOWN)


def points_of(trial_job: dict[str, Any]) -> list[tuple[int, int, float]]:
    """The images, samples and value of each measurement of a trial, as they stand in its record."""
    return [(row["images"], row["samples"], row["value"]) for row in read(trial_job, "record.json")["metrics"]]


def test_it_changes_neither_the_training_nor_what_is_measured_at_its_end_nor_the_identity(tmp_path: Path) -> None:
    plain, watched = job(tmp_path / "plain", dit()), job(tmp_path / "watched", dit(), evaluate=POINTS)
    assert plain["config_hash"] == watched["config_hash"]
    run(plain), run(watched)
    assert timeless(read(plain, "curve.json")) == timeless(read(watched, "curve.json"))
    for name in ("samples.npy", "samples.png"):
        assert Path(plain["folder"], name).read_bytes() == Path(watched["folder"], name).read_bytes()
    (end,), with_points = points_of(plain), points_of(watched)
    assert with_points[0] == end
    assert [point[:2] for point in with_points] == [(384, 8), (384, 5), (96, 5), (192, 5)]
    own, more = read(plain, "record.json"), read(watched, "record.json")
    assert set(more) - set(own) == {"train_seconds_at", "shares"} and set(more["train_seconds_at"]) == {"96", "192"}
    assert {share: point["images"] for share, point in more["shares"].items()} == {"0.25": 96, "0.5": 192}
    clocked = {"metrics", "checksum", "train_seconds_at", "shares"}
    assert {k: v for k, v in timeless(own).items() if k not in clocked} == {
        k: v for k, v in timeless(more).items() if k not in clocked
    }
    assert more["evaluate_seconds"] > 0 and more["overhead_seconds"] >= 0


@pytest.mark.parametrize("ema", ["constant", "power", {"type": "post_hoc", "length": 0.1, "snapshots": 8}])
def test_a_point_is_the_end_of_a_shorter_training(tmp_path: Path, ema: Any) -> None:
    whole = job(tmp_path / "whole", dit(ema=ema), evaluate=POINTS)
    short = job(tmp_path / "short", dit(ema=ema), {"steps": 6}, evaluate={"samples": 5})
    run(whole), run(short)
    (at_its_end,) = points_of(short)
    assert at_its_end in points_of(whole)


@pytest.mark.parametrize("steps", [2, 3, 4, 6, 11])
def test_a_trial_that_is_interrupted_has_the_points_of_one_that_is_not(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = job(tmp_path / "whole", dit(), evaluate=POINTS), job(tmp_path / "broken", dit(), evaluate=POINTS)
    run(whole)
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)
    with pytest.raises(Stopped):
        run(broken, after(steps))
    run(broken)
    assert timeless(read(broken, "record.json")) == timeless(read(whole, "record.json"))


def test_a_stop_while_a_point_is_measured_loses_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = job(tmp_path / "whole", dit(), evaluate=POINTS), job(tmp_path / "broken", dit(), evaluate=POINTS)
    run(whole)
    with monkeypatch.context() as patch:
        patch.setattr(trial_evaluation, "measure", lambda *args: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            run(broken)
    assert [int(file.stem) for file in Path(broken["folder"], "checkpoint").glob("*.json")] == [96]
    run(broken)
    assert timeless(read(broken, "record.json")) == timeless(read(whole, "record.json"))


def test_out_of_memory_at_a_point_is_one_while_measuring_and_smaller_batches_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = job(tmp_path / "whole", dit(), evaluate=POINTS), job(tmp_path / "broken", dit(), evaluate=POINTS)
    run(whole)
    with monkeypatch.context() as patch:
        patch.setattr(trial_evaluation, "measure", lambda *args: (_ for _ in ()).throw(MemoryError("no room")))
        report = run(broken)
    assert (report["status"], report["phase"]) == ("oom", "measure")
    run({**broken, "sampling_batch": 2})
    assert [point[:2] for point in points_of(broken)] == [point[:2] for point in points_of(whole)]
    assert [point[2] for point in points_of(broken)] == pytest.approx([point[2] for point in points_of(whole)])


def test_what_cannot_be_measured_at_a_point_is_missing_with_the_reason_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trial_evaluation.measure

    def first_is_not_finite(candidate: Any, *args: Any) -> Any:
        if args[7] == 96:  # images
            raise NotFiniteError("samples 0 to 4 are not all finite")
        return real(candidate, *args)

    trial_job = job(tmp_path, dit(), evaluate=POINTS)
    monkeypatch.setattr(trial_evaluation, "measure", first_is_not_finite)
    assert run(trial_job)["status"] == "done"
    assert [point[:2] for point in points_of(trial_job)] == [(384, 8), (384, 5), (192, 5)]
    assert read(trial_job, "record.json")["unmeasured"] == {"96": "samples 0 to 4 are not all finite"}


def test_an_average_that_snapshots_do_not_give_so_early_is_missing_there(tmp_path: Path) -> None:
    ema = {"type": "post_hoc", "length": 0.16, "snapshots": 16}
    trial_job = job(tmp_path, dit(ema=ema), {"steps": 32}, evaluate={"at": (0.1, 0.9), "at_samples": 5})
    assert run(trial_job)["status"] == "done"
    (reason,) = read(trial_job, "record.json")["unmeasured"].values()
    assert "length 0.16 cannot be rebuilt from" in reason
    assert [point[:2] for point in points_of(trial_job)] == [(1024, 8), (1024, 5), (928, 5)]


def test_points_of_a_trial_that_diverges_are_kept(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate(bad=8), evaluate=POINTS)
    assert run(trial_job)["status"] == "diverged"
    record = read(trial_job, "record.json")
    assert record["state"] == "diverged" and [row["images"] for row in record["metrics"]] == [96, 192]


def after_point(trial_job: dict[str, Any], images: int) -> Callable[[], bool]:
    """Stops a trial run once a checkpoint says that its quality after so many images is measured."""
    checkpoints = Path(trial_job["folder"], "checkpoint")
    return lambda: any(
        str(images) in json.loads(file.read_text())["quality"]["train_seconds"] for file in checkpoints.glob("*.json")
    )


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_point_writes_the_tensors_of_its_checkpoint_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    written: list[int] = []
    real = checkpoint.write_tensors

    def write(file: Path, tensors: Any, durable: bool = True) -> None:
        written.append(int(file.stem))
        real(file, tensors, durable)

    monkeypatch.setattr(checkpoint, "write_tensors", write)
    trial_job = job(tmp_path, dit(), evaluate=POINTS)
    if interrupted:  # the point is measured by the run that goes on
        with monkeypatch.context() as patch:
            patch.setattr(trial_evaluation, "measure", lambda *args: (_ for _ in ()).throw(Stopped))
            with pytest.raises(Stopped):
                run(trial_job)
    run(trial_job)
    assert written == [96, 192, 384]


def test_a_stop_after_a_point_was_measured_gives_the_same_and_measures_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = job(tmp_path / "whole", dit(), evaluate=POINTS), job(tmp_path / "broken", dit(), evaluate=POINTS)
    run(whole)
    measured: list[int] = []
    real = trial_evaluation.measure

    def count(candidate: Any, *args: Any) -> Any:
        measured.append(args[7])  # images
        return real(candidate, *args)

    monkeypatch.setattr(trial_evaluation, "measure", count)

    take_step = loop.Training._take_step

    def killed_once_measured(*args: Any) -> Any:
        if measured:
            raise Stopped
        return take_step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_take_step", killed_once_measured)
        with pytest.raises(Stopped):
            run(broken)
    assert measured == [96]
    run(broken)
    assert measured == [96, 192, 384, 384]
    assert timeless(read(broken, "record.json")) == timeless(read(whole, "record.json"))


def test_other_points_after_an_interruption_are_measured_from_there_on(tmp_path: Path) -> None:
    trial_job = job(tmp_path, dit(), evaluate=POINTS)
    with pytest.raises(Stopped):
        run(trial_job, after_point(trial_job, 96))
    other = job(tmp_path, dit(), evaluate={"at": (0.1, 0.3, 0.75), "at_samples": 5})
    run(other)
    assert [images for images, samples, _ in points_of(other) if samples == 5] == [384, 96, 128, 288]


def test_points_that_other_source_measured_before_an_interruption_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial_job = job(tmp_path, dit(), evaluate=POINTS)
    with pytest.raises(Stopped):
        run(trial_job, after_point(trial_job, 96))
    real = loop.QualityCurve
    monkeypatch.setattr(loop, "QualityCurve", lambda *args: real(*args[:4], {"solver/ddim": "mended"}))
    run(trial_job)
    assert read(trial_job, "record.json")["unmeasured"] == {"96": OTHER_SOURCE}
    assert [images for images, samples, _ in points_of(trial_job) if samples == 5] == [384, 192]


def test_points_are_the_first_steps_that_reach_them() -> None:
    shares = Evaluation(metrics=(KNOWN.create("metric", "kid"),), at=(0.1, 0.7, 1.0))
    assert shares.points(64, 6400) == (640, 4480)
    assert shares.points(10, 200) == (20, 140)
    every = Evaluation(metrics=shares.metrics, every=1000)
    assert every.points(64, 4032) == (1024, 2048, 3008)
    timed = EvaluationPoints(shares, 64, None, 100.0)
    assert [timed.passed(0, seconds) for seconds in (0.0, 9.9, 10.0, 69.0, 70.0, 100.0)] == [0, 0, 1, 1, 2, 2]
    assert [EvaluationPoints(every, 64, None, 60.0).passed(images, 1.0) for images in (960, 1024, 2048)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("fields", "images", "message"),
    [
        ({"at": (0.51, 0.52)}, 640, "two of 0.51, 0.52 fall into one step"),
        ({"at": (0.05,)}, 640, "less than one step of 64"),
        ({"every": 60}, 640, "60 images are less than one step of 64"),
        ({"every": 64}, 64_000, "comes to 999 points; at most 200"),
    ],
)
def test_points_that_cannot_be(fields: dict[str, Any], images: int, message: str) -> None:
    evaluation = Evaluation(metrics=(KNOWN.create("metric", "kid"),), **fields)
    with pytest.raises(InputError, match=message):
        evaluation.points(64, images)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"at": (0.5, 0.25)}, "at has to ascend"),
        ({"at": (0.5,), "every": 100}, "not both"),
        ({"at": (0.5,), "at_samples": 3000}, "more than the samples at the end"),
        ({"at": (0.5,), "metrics": ()}, "there are no metrics"),
        ({"at": (0.5,), "at_samples": 1}, "during training as many are drawn as at_samples says"),
    ],
)
def test_fields_that_contradict_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Evaluation(**{"metrics": (KNOWN.create("metric", "kid"),), **fields})


def test_a_few_samples_of_each_point_are_kept_from_the_same_latents(tmp_path: Path) -> None:
    """Those of a point are the first samples of a training that ends there; the last are those of the end."""
    whole = job(tmp_path / "whole", dit(), evaluate={**POINTS, "previews": 4})
    short = job(tmp_path / "short", dit(), {"steps": 6}, evaluate={"samples": 5, "previews": 4})
    end = job(tmp_path / "end", dit(), evaluate={"samples": 5, "previews": 4})
    run(whole), run(short), run(end)
    kept = previews.read(Path(whole["folder"]))
    assert list(kept) == [96, 192, 384] and all(one.shape == (4, 1, 8, 8) for one in kept.values())
    for images, other in ((192, short), (384, end)):
        assert np.array_equal(kept[images], np.load(Path(other["folder"], "samples.npy")))
    assert previews.PREVIEWS in read(whole, "record.json")["files"]
    assert previews.read(Path(short["folder"])) == {}  # nobody asked for points
    Path(whole["folder"], previews.PREVIEWS).write_bytes(b"PK cut short")
    assert previews.read(Path(whole["folder"])) == {}


def test_of_many_points_some_are_pictured() -> None:
    kid = KNOWN.create("metric", {"type": "kid", "features": "pixels"})
    many = QualityCurve(Evaluation(metrics=(kid,), every=32, at_samples=8), 32, 32 * 101)
    pictured = [n for n in range(1, 101) if many.is_pictured(32 * n, 0.0)]
    assert pictured == [7 * k for k in range(1, 15)]


def test_what_there_is_so_far_is_there_while_it_runs_and_gone_with_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0), monkeypatch.setattr(loop, "SHOWN_SECONDS", 0.0)
    broken = job(tmp_path, dit(), evaluate=POINTS)
    file = Path(broken["folder"], SO_FAR)
    with pytest.raises(Stopped):
        run(broken, lambda: file.exists() and bool(json.loads(file.read_text())["metrics"]))
    so_far = read(broken, SO_FAR)
    assert [row["images"] for row in so_far["curve"]][:3] == [32, 64, 96]
    assert [row["images"] for row in so_far["metrics"]] == [96]
    run(broken)
    assert not Path(broken["folder"], SO_FAR).exists()
