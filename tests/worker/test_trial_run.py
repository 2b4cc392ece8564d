"""A segment: whatever interrupts it, the trial ends as if nothing had."""

from __future__ import annotations

import contextlib
import json
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from segments_for_tests import PLUGIN, after, candidate, job, read, run, timeless

from ablate.kinds.executor import Stopped
from ablate.training import loop
from ablate.worker import trial_run
from ablate.worker.records import PACKED, is_recorded

RECORD = {
    *("schema", "trial", "config_hash", "seed", "state", "choices", "params", "gflops", "macs", "images", "loss"),
    *("seconds", "train_seconds", "evaluate_seconds", "overhead_seconds", "ended", "peak_memory_bytes", "device"),
    "versions",
    *(
        "host",
        "data_hash",
        "metrics",
        "weighting",
        "divergence",
        "files",
        "beside",
        "checksum",
        "sample_gflops",
        "noise",
        "variety",
    ),
}
MEMORY = {"train_memory_bytes", "estimated_memory_bytes"}
METRIC = {
    *("images", "ema", "solver", "nfe", "guidance", "metric", "features", "samples", "value", "error"),
    *(
        "features_hash",
        "reference_hash",
        "quantisation",
        "solver_settings",
        "solver_error",
        "reference",
        "sample_gflops",
    ),
}


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look and a checkpoint at every step."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)


def weights(trial_job: dict[str, Any]) -> dict[str, torch.Tensor]:
    return load_file(max(Path(trial_job["folder"], "checkpoint").glob("*.safetensors")))


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert timeless(read(one, "record.json")) == timeless(read(two, "record.json"))
    assert timeless(read(one, "curve.json")) == timeless(read(two, "curve.json"))
    ours, theirs = weights(one), weights(two)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name in ("samples.npy", "samples.png"):
        assert Path(one["folder"], name).read_bytes() == Path(two["folder"], name).read_bytes()


def test_record_is_what_the_architecture_says(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate())
    report = run(trial_job)
    assert (report["job"], report["status"]) == (trial_job["trial"], "done")
    record = read(trial_job, "record.json")
    assert record == report["record"]
    assert set(record) == RECORD | MEMORY
    assert record["state"] == "complete" and record["divergence"] is None
    assert {k: record[k] for k in ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")} == {
        k: trial_job[k] for k in ("trial", "config_hash", "seed", "choices", "params", "gflops", "macs")
    }
    assert record["images"] == 12 * 32
    (row,) = record["metrics"]
    assert set(row) == METRIC
    assert (row["metric"], row["features"], row["samples"], row["images"]) == ("kid_pixels", "pixels", 8, 12 * 32)
    assert row["nfe"] == 2 and len(row["features_hash"]) == len(row["reference_hash"]) == 64
    assert record["versions"].keys() == {"ablate", "torch", "numpy", "python"}
    assert all(point["x0_weight"] >= 0 for point in record["weighting"]) and len(record["weighting"]) > 10
    curve = read(trial_job, "curve.json")
    assert [point["images"] for point in curve] == [32 * (i + 1) for i in range(12)]
    assert set(curve[0]) == {"images", "loss", "lr", "grad_norm", "grad_norm_clipped", "images_per_second", "seconds"}
    assert record["loss"] == pytest.approx(curve[-1]["loss"])
    assert sorted(path.name for path in Path(trial_job["folder"]).iterdir()) == [
        *(".lock", "checkpoint", "samples.npy", "samples.png", "trial.jsonl.gz"),
    ]
    images = np.load(Path(trial_job["folder"], "samples.npy"))
    assert images.shape == (4, 1, 8, 8) and images.dtype == np.uint8
    with Image.open(Path(trial_job["folder"], "samples.png")) as picture:
        assert picture.width > 8 * 4


def test_the_document_lists_the_records_keys() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "architecture.md").read_text()
    for key in (*RECORD, *METRIC):
        assert f'"{key}"' in text, key


def test_seconds_add_up_also_over_an_interruption(tmp_path: Path, often: None, monkeypatch: Any) -> None:
    monkeypatch.setenv("PROBE_SLEEP", "0.05")
    trial_job = job(tmp_path, candidate())
    with pytest.raises(Stopped):
        run(trial_job, after(8))
    first = read(trial_job, "progress.json")["seconds"]
    begun = time.monotonic()
    record = run(trial_job)["record"]
    wall = time.monotonic() - begun
    parts = [record[f"{part}_seconds"] for part in ("train", "evaluate", "overhead")]
    assert all(part > 0 for part in parts)
    assert record["seconds"] == pytest.approx(sum(parts))
    assert record["train_seconds"] >= 12 * 0.05  # of both segments
    assert 8 * 0.05 <= first < record["seconds"] <= first + wall
    assert read(trial_job, "curve.json")[-1]["seconds"] == pytest.approx(record["train_seconds"])


@pytest.mark.parametrize("stops", [(5,), (1, 2, 9)])
@pytest.mark.parametrize(
    "more",
    [{}, {"ema": "none"}, {"precision": "bf16"}, {"weighting": "edm2"}, {"precision": {"type": "fp16", "growth": 2}}],
)
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, often: None, stops: tuple[int, ...], more: dict[str, Any]
) -> None:
    trial_candidate = candidate(
        more={"clip": "global_norm", "guidance": {"type": "cfg"}, **more}, dropout=0.3, tied=True
    )
    whole, pieces = job(tmp_path / "whole", trial_candidate), job(tmp_path / "pieces", trial_candidate)
    run(whole)
    for steps in stops:
        with pytest.raises(Stopped):
            run(pieces, after(steps))
    assert not is_recorded(Path(pieces["folder"]))
    run(pieces)
    assert_same(whole, pieces)


def test_how_often_is_looked_and_saved_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial_candidate = candidate(batch=8, dropout=0.3)
    monkeypatch.setattr(loop, "ROWS", 10)
    seldom = job(tmp_path / "seldom", trial_candidate, {"steps": 21})  # a row every second step, and a rest
    run(seldom)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)
    constantly = job(tmp_path / "constantly", trial_candidate, {"steps": 21})
    with pytest.raises(Stopped):
        run(constantly, after(10))  # in the middle of a row
    run(constantly)
    assert len(read(seldom, "curve.json")) == 11
    assert_same(seldom, constantly)


def test_interrupted_while_it_measures(tmp_path: Path) -> None:
    trial_candidate = candidate()
    whole, pieces = job(tmp_path / "whole", trial_candidate), job(tmp_path / "pieces", trial_candidate)
    run(whole)
    with pytest.raises(Stopped):
        run(pieces, after(12 + 1))  # all steps of loop, one of the solver
    newest = max(Path(pieces["folder"], "checkpoint").glob("*.safetensors"))
    assert newest.stem == f"{12 * 32:012d}"
    before = newest.stat().st_mtime_ns
    run(pieces)
    assert newest.stat().st_mtime_ns == before  # nothing was trained again
    assert_same(whole, pieces)


def test_measured_once(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate())
    first = run(trial_job)
    before = Path(trial_job["folder"], PACKED).stat()
    assert run(trial_job) == first
    after = Path(trial_job["folder"], PACKED).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_damaged_record_is_measured_again(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate())
    first = run(trial_job)["record"]
    Path(trial_job["folder"], PACKED).write_text("{")
    assert timeless(run(trial_job)["record"]) == timeless(first)


@pytest.mark.parametrize("intact", [1, 0])
def test_damaged_checkpoint_gives_way_to_an_older_one_or_to_none(tmp_path: Path, often: None, intact: int) -> None:
    trial_candidate = candidate(dropout=0.3)
    whole, damaged = job(tmp_path / "whole", trial_candidate), job(tmp_path / "damaged", trial_candidate)
    run(whole)
    with pytest.raises(Stopped):
        run(damaged, after(8))
    files = sorted(Path(damaged["folder"], "checkpoint").glob("*.safetensors"))
    assert [file.stem for file in files] == [f"{n * 32:012d}" for n in (7, 8)]
    for file in files[intact:]:
        content = bytearray(file.read_bytes())
        content[-5] ^= 1  # one bit of one weight, the length is right
        file.write_bytes(content)
    with pytest.raises(Stopped):
        run(damaged, after(2))  # two more steps than the older one had
    newest = max(Path(damaged["folder"], "checkpoint").glob("*.json"))
    assert json.loads(newest.read_text())["steps"] == (9 if intact else 2)
    run(damaged)
    assert_same(whole, damaged)


@pytest.mark.parametrize(
    ("budget", "images"),
    [({"images": 100}, 128), ({"steps": 3}, 96), ({"train_gflops": 1e-9}, 32), ({"train_gflops": 0.01}, None)],
)
def test_budgets_end_in_whole_steps(tmp_path: Path, budget: dict[str, float], images: int | None) -> None:
    trial_job = job(tmp_path, candidate(), budget)
    record = run(trial_job)["record"]
    expected = images or 32 * round(0.01 / (3 * trial_job["gflops"]) / 32)
    assert record["images"] == expected > 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Training's own clock: 2 ms pass at each look at it, whatever the machine does meanwhile."""
    now = [0.0]

    def look() -> float:
        now[0] += 0.002
        return now[0]

    monkeypatch.setattr(loop, "monotonic", look)
    return now


def test_budget_of_minutes(tmp_path: Path, clock: list[float]) -> None:
    decay = {"optimizer": {"type": "adamw", "lr": 1e-3, "decay": "cosine"}}
    trial_job = job(tmp_path, candidate(more=decay), {"minutes": 0.02})
    record = run(trial_job)["record"]
    assert 1.2 <= record["train_seconds"] < 1.2 + 0.03  # one row more at the most
    curve = read(trial_job, "curve.json")
    assert 30 < len(curve) <= loop.ROWS
    assert curve[-1]["images"] == record["images"] > 32 * 20
    assert curve[-1]["lr"] < 1e-4 < 9e-4 < curve[1]["lr"]  # the rate follows the clock


def test_budget_of_minutes_resumes_with_the_time_that_is_left(tmp_path: Path, clock: list[float]) -> None:
    trial_job = job(tmp_path, candidate(), {"minutes": 0.02})
    with pytest.raises(Stopped):
        run(trial_job, after(30))
    progress = read(trial_job, "progress.json")
    assert progress["total"] is None and progress["limit"] == 1.2 and 0 < progress["seconds"] < 1.2
    begun = clock[0]
    record = run(trial_job)["record"]
    assert clock[0] - begun < 2 * 1.2  # the looks that belong to no step, too
    assert 1.2 <= record["train_seconds"] < 1.2 + 0.03


def test_a_training_that_is_told_to_stop_loses_no_step(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate())
    with pytest.raises(Stopped):
        run(trial_job, after(5))
    (file,) = Path(trial_job["folder"], "checkpoint").glob("*.json")
    assert int(file.stem) == 5 * 32


def test_micro_batches_are_recorded_and_change_only_rounding(tmp_path: Path) -> None:
    trial_candidate = candidate()
    whole, parts = job(tmp_path / "whole", trial_candidate), job(tmp_path / "parts", trial_candidate, micro=5)
    assert "micro" not in run(whole)["record"]
    assert run(parts)["record"]["micro"] == 5
    pairs = zip(read(whole, "curve.json"), read(parts, "curve.json"), strict=True)
    assert all(one["loss"] == pytest.approx(two["loss"], rel=1e-4) for one, two in pairs)


@pytest.mark.parametrize(
    ("trap", "phase", "message", "smaller"),
    [
        ({"room": 16}, "train", "out of memory: 32 images, room for 16", {"micro": 16}),
        ({"sample_room": 4}, "measure", "out of memory: 8 samples, room for 4", {"sampling_batch": 4}),
    ],
)
def test_out_of_memory_is_a_report_that_says_in_which_phase(
    tmp_path: Path, trap: dict[str, int], phase: str, message: str, smaller: dict[str, int]
) -> None:
    trial_job = job(tmp_path, candidate(**trap))
    assert run(trial_job) == {"job": trial_job["trial"], "status": "oom", "message": message, "phase": phase}
    assert not is_recorded(Path(trial_job["folder"]))
    assert run({**trial_job, **smaller})["status"] == "done"


def test_a_plugins_exception_passes_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a wire is loose") as raised:
        run(job(tmp_path, candidate(trap="raise", step=3)))
    assert PLUGIN in str(raised.traceback[-1].path)


def test_full_disk_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate(trap="full", step=3))
    report = run(trial_job)
    assert (report["status"], report["errno"]) == ("failed", 28)
    assert "No space left on device" in report["message"]


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Where this process writes more bytes than these to a file, the system refuses."""
    own = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, own[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, own)


@pytest.mark.parametrize("room", [0, 1000, 6000])
def test_the_system_refuses_to_write_and_later_does_not(tmp_path: Path, room: int) -> None:
    """A limit of file sizes: the write fails in the job file, in a checkpoint, in a sample, as on a full disk."""
    trial_job = job(tmp_path, candidate(width=16))
    with files_no_larger_than(room):
        report = run(trial_job)
    assert (report["status"], report["errno"]) == ("failed", 27)
    file_names = [path.name for path in Path(trial_job["folder"]).rglob("*") if path.is_file() and path.name != ".lock"]
    assert not {"record.json", "curve.json", PACKED} & set(file_names)
    assert not [name for name in file_names if name.startswith(".")]
    assert run(trial_job)["status"] == "done"


def test_another_process_at_work_is_waited_for(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate())
    reports: list[dict[str, Any]] = []
    at_work, gate = threading.Event(), threading.Event()

    def slowly() -> bool:
        at_work.set()
        gate.wait()
        return False

    first = threading.Thread(target=lambda: reports.append(run(trial_job, slowly)))
    first.start()
    assert at_work.wait(500)
    with pytest.raises(Stopped):  # the wait itself can be stopped
        run(trial_job, lambda: True)
    second = threading.Thread(target=lambda: reports.append(run(trial_job)))
    second.start()
    time.sleep(0.3)
    assert reports == []
    gate.set()
    first.join()
    second.join()
    assert reports[0] == reports[1]  # and what the other has measured is not measured again


def test_what_a_killed_process_left_half_written_is_swept(tmp_path: Path, often: None) -> None:
    trial_job = job(tmp_path, candidate())
    with pytest.raises(Stopped):
        run(trial_job, after(4))
    folder = Path(trial_job["folder"], "checkpoint")
    (folder / ".000000000096.safetensors.x1y2z3.tmp").write_bytes(b"half")
    (folder.parent / ".record.json.x1y2z3.tmp").write_bytes(b"half")
    (folder / "000000000001.safetensors").write_bytes(b"without its json")
    run(trial_job)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json"] * 2 + [".safetensors"] * 2
    assert [path.name for path in folder.parent.glob(".*")] == [".lock"]


def test_progress_is_told(tmp_path: Path, often: None) -> None:
    trial_job = job(tmp_path, candidate())
    with pytest.raises(Stopped):
        run(trial_job, after(5))
    progress = read(trial_job, "progress.json")
    assert progress.keys() == {"phase", "images", "total", "loss", "images_per_second", "seconds", "limit"}
    assert (progress["phase"], progress["images"], progress["total"]) == ("train", 5 * 32, 12 * 32)
    assert progress["loss"] > 0 and progress["images_per_second"] > 0


def test_a_network_that_cannot_be_built_leaves_no_watch_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(trial_run, "Training", no_room)
    assert run(job(tmp_path, candidate()))["status"] == "oom"
    assert not [thread for thread in threading.enumerate() if thread.name == "memory"]
