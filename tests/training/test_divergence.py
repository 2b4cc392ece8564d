"""A training that goes out of range is a result: where, in which step, in which module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from segments_for_tests import CACHE, DATA, after, candidate, job, read, run, timeless

from ablate.candidates.trial import Budget
from ablate.kinds.executor import Stopped
from ablate.results.divergence import describe_divergence
from ablate.training import loop
from ablate.training.divergence import examine
from ablate.training.learner import Images, Learner


@pytest.fixture(params=["seldom", "often"])
def looks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How often the numbers are looked at must not decide what is found."""
    if request.param == "often":
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
        monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)
    return str(request.param)


def diverged(trial_job: dict[str, Any]) -> dict[str, Any]:
    report = run(trial_job)
    assert report["status"] == "diverged"
    record = read(trial_job, "record.json")
    assert record == report["record"]
    assert record["state"] == "diverged" and record["metrics"] == [] and record["loss"] is None
    assert record["images"] == record["divergence"]["images"]
    return record


@pytest.mark.parametrize("step", [1, 2, 7, 100])
def test_step_and_module(tmp_path: Path, looks: str, step: int) -> None:
    """251 steps: a row is two steps long, so that it breaks off in the middle of one."""
    trial_job = job(tmp_path, candidate(batch=8, bad=step, dropout=0.2), {"steps": 251})
    record = diverged(trial_job)
    divergence = record["divergence"]
    assert {key: divergence[key] for key in ("step", "images", "module", "message")} == {
        "step": step,
        "images": 8 * step,
        "module": "middle",
        "message": "the output of middle is not finite",
    }
    low, high = divergence["log_snr"]
    assert low < high and len(divergence["worst"]) == 4
    assert all(one["loss"] is None and low <= one["log_snr"] <= high for one in divergence["worst"])
    assert [one["step"] for one in divergence["last"]] == list(range(max(1, step - 5), step))
    assert all(one["loss"] > 0 and one["grad_norm"] > 0 for one in divergence["last"]) and divergence["weight_norm"] > 0
    rows = [*range(2, step, 2), *([step - 1] if step % 2 == 0 else [])]  # the last finite step ends the curve
    assert [row["images"] for row in read(trial_job, "curve.json")] == [8 * row for row in rows]
    assert not Path(trial_job["folder"], "samples.npy").exists()


def test_when_it_is_looked_at_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = candidate(batch=8, bad=60, dropout=0.2)
    seldom = job(tmp_path / "seldom", config, {"steps": 251})
    diverged(seldom)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.0)
    often = job(tmp_path / "often", config, {"steps": 251})
    with pytest.raises(Stopped):
        run(often, after(43))
    diverged(often)
    assert timeless(read(seldom, "record.json")) == timeless(read(often, "record.json"))
    assert timeless(read(seldom, "curve.json")) == timeless(read(often, "curve.json"))


def test_interrupted_while_it_is_diagnosed(tmp_path: Path) -> None:
    config = candidate(bad=10)
    whole, pieces = job(tmp_path / "whole", config), job(tmp_path / "pieces", config)
    diverged(whole)
    with pytest.raises(Stopped):
        run(pieces, after(10 + 5))
    diverged(pieces)
    assert timeless(read(whole, "record.json")) == timeless(read(pieces, "record.json"))


def test_in_parts_of_a_batch(tmp_path: Path) -> None:
    record = diverged(job(tmp_path, candidate(bad=12), micro=8))  # four passes a step
    assert record["divergence"]["step"] == 3 and record["divergence"]["module"] == "middle"


def test_outside_of_every_module(tmp_path: Path) -> None:
    record = diverged(job(tmp_path, candidate(trap="loss_nan", step=1)))
    assert record["divergence"]["module"] == "network"


def learner() -> Learner:
    cpu = torch.device("cpu")
    return Learner(candidate(), DATA.setting(), Images(DATA.load(CACHE), cpu), 0, cpu, None)


def test_weights_loss_and_gradients_that_are_not_finite() -> None:
    broken = learner()
    with torch.no_grad():
        broken.network.outward.weight[0, 0, 0, 0] = torch.inf
    assert examine(broken)[:2] == ("outward", "the parameter outward.weight is not finite")
    huge = learner()
    with torch.no_grad():
        huge.network.outward.weight.mul_(1e25)  # outputs are finite, their squares are not
    assert examine(huge)[:2] == ("loss", "the network's output is finite, the loss is not")
    steep = learner()
    steep.network.inward.weight.register_hook(lambda gradient: gradient * torch.inf)
    assert examine(steep)[:2] == ("inward", "the gradient of inward.weight is not finite")
    assert examine(learner())[:2] == (None, "the step was finite when it was repeated")


def test_the_network_of_guidance(tmp_path: Path) -> None:
    """The main network trains well; what would spoil every sample is told as what it is."""
    config = candidate(more={"guidance": "classifier"})

    def broken() -> Learner:
        cpu = torch.device("cpu")
        learner = Learner(config, DATA.setting(), Images(DATA.load(CACHE), cpu), 0, cpu, None)
        first = next(learner.companion.network.parameters())
        first.register_hook(lambda gradient: gradient * torch.nan)
        return learner

    divergence = loop.Training(broken, Budget(steps=9), 1e-6, tmp_path, lambda: False).run()
    assert divergence is not None and divergence["step"] == 2  # the first whose loss shows it
    assert divergence["module"].startswith("companion.")
    assert divergence["message"].startswith("the network of guidance 'classifier': the parameter companion.")
    assert len(divergence["last"]) == 2 and divergence["weight_norm"] > 0  # of the main network, which was well


def test_it_is_told_in_words() -> None:
    last = [{"step": 6, "loss": 0.5, "grad_norm": 1.25}, {"step": 7, "loss": 3.0, "grad_norm": 80.0}]
    where = {"step": 8, "images": 64, "module": "middle", "message": "the output of middle is not finite"}
    levels = {"log_snr": [-9.0, 8.5], "worst": [{"log_snr": -9.0, "loss": None}]}
    assert describe_divergence({**where, **levels, "last": last, "weight_norm": 31.0}) == (
        "step 8, middle: the output of middle is not finite (log SNR -9 to 8.5, worst at -9; "
        "loss before: 0.5, 3; gradient norm before: 1.25, 80; weight norm 31)"
    )
    assert describe_divergence(where) == "step 8, middle: the output of middle is not finite"  # of an earlier version


def test_samples_that_are_not_finite(tmp_path: Path) -> None:
    trial_job = job(tmp_path, candidate(trap="sample_nan"))
    record = diverged(trial_job)
    divergence = record["divergence"]
    assert (divergence["step"], divergence["images"], divergence["module"]) == (12, 12 * 32, "sampling")
    assert divergence["message"] == "samples 0 to 7 are not all finite"
    assert divergence["log_snr"] is None and divergence["weight_norm"] > 0
    assert [one["step"] for one in divergence["last"]] == [8, 9, 10, 11, 12]
    assert len(read(trial_job, "curve.json")) == 12
