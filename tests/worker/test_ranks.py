"""A trial whose steps several processes share: the same trial up to rounding, whoever takes it up."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from segments_for_tests import DATA, candidate, job, read, run
from torch import Tensor

from ablate.candidates.candidate import Candidate
from ablate.candidates.packing import why_alone
from ablate.errors import SpecError
from ablate.kinds.data import image_setting
from ablate.kinds.executor import Stopped
from ablate.training.captured import excluded
from ablate.training.checkpoint import newest
from ablate.worker.ranks import refuse_devices

SETTING = image_setting(DATA)
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
GUIDED = {"guidance": {"type": "cfg", "drop": 0.3}, "clip": "global_norm", "optimizer": {"type": "adamw", "lr": 1e-2}}


def of(devices: int, batch: int = 31, **more: Any) -> Candidate:
    return candidate(batch=batch, width=8, more={**GUIDED, "devices": devices, **more})  # 31: 15 and 16 images


def weights(made: dict[str, Any]) -> dict[str, Tensor]:
    checkpoint = newest(Path(made["folder"]) / "checkpoint", "cpu")
    assert checkpoint is not None
    return dict(checkpoint.tensors)


def others() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if any("ablate.worker.ranks" in word for word in one.cmdline())]


def at_step(number: int, do: Callable[[], bool], size: int) -> Callable[[], bool]:
    """A stop that is asked at every step: at this one, what it says is done. While others are awaited, nothing is."""
    left = iter(range(number - 1))
    return lambda: (size == 1 or torch.distributed.is_initialized()) and next(left, None) is None and do()


def kill() -> bool:
    """Kill the other processes, and do not stop."""
    for one in others():
        one.send_signal(signal.SIGKILL)
    return False


def layout(devices: int, sharded: bool) -> dict[str, Any]:
    return {"layout": "fsdp"} if sharded and devices > 1 else {}


@pytest.mark.parametrize(
    ("begun", "ended", "sharded"),
    [
        (2, 1, False),
        pytest.param(1, 2, False, marks=pytest.mark.thorough),
        pytest.param(3, 3, False, marks=pytest.mark.thorough),
        pytest.param(2, 1, True, marks=pytest.mark.thorough),
        pytest.param(1, 3, True, marks=pytest.mark.thorough),
    ],
)
def test_a_trial_is_the_same_whoever_takes_its_steps(tmp_path: Path, begun: int, ended: int, sharded: bool) -> None:
    """Begun by some processes and ended by others, it comes to the record of one process alone, also of shards.

    It is measured on the way, by the first of them.
    """
    batch = 30 if sharded else 31
    micro: dict[str, Any] = {"micro": 5} if sharded else {}
    during: dict[str, Any] = {"evaluate": {"at": (0.5,)}} if sharded else {}
    alone = job(tmp_path / "alone", of(1, batch, **micro), **during)
    plain = run(alone)["record"]
    first = job(tmp_path / "shared", of(begun, batch, **micro, **layout(begun, sharded)), **during)
    if begun != ended:
        with pytest.raises(Stopped):
            run(first, at_step(6, lambda: True, begun))
        assert not others() and not (Path(first["folder"]) / ".ranks").exists()
    second = job(tmp_path / "shared", of(ended, batch, **micro, **layout(ended, sharded)), **during)
    shared = run(second)["record"]
    assert shared["trial"] == plain["trial"] and shared["images"] == plain["images"] == 12 * batch
    assert len(shared["metrics"]) == len(plain["metrics"]) == 1 + sharded and not shared.get("unmeasured")
    assert shared.get("devices", 1) == ended and "devices" not in plain
    assert shared["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    for one, two in zip(plain["metrics"], shared["metrics"], strict=True):
        assert two["images"] == one["images"] and two["value"] == pytest.approx(one["value"], rel=1e-2, abs=1e-3)
    for one, two in zip(read(alone, "curve.json"), read(second, "curve.json"), strict=True):
        assert one["images"] == two["images"] and two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    ours, theirs = weights(alone), weights(second)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name.endswith("passes") and sharded:
            continue  # the network's count of its passes, which are fewer where several share a batch in parts
        torch.testing.assert_close(theirs[name], value, **CLOSE)


@pytest.mark.thorough
def test_a_process_that_is_killed_ends_the_trial(tmp_path: Path) -> None:
    """With one message; nothing of it is left, and the trial can go on."""
    killed = job(tmp_path, of(2))
    report = run(killed, at_step(4, kill, 2))
    assert report["status"] == "lost"
    assert report["message"] == "process 2 of 2, which share this trial's steps, was killed [SIGKILL]"
    assert not others() and not torch.distributed.is_initialized()
    again = job(tmp_path, of(1))
    assert run(again)["record"]["state"] == "complete"


def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert refuse_devices(of(2), torch.device("cuda")) is None
    told = refuse_devices(of(3), torch.device("cuda"))
    assert told is not None and told.startswith("devices: 3 are asked for, and a trial has 2 here")
    assert refuse_devices(of(64 // 4), torch.device("cpu")) is None
    with pytest.raises(SpecError, match="devices: 32 cannot share a batch of 31"):
        of(32)
    with pytest.raises(SpecError, match="devices: 2 cuts the batch of 31 into parts, and auxiliary 'dispersive'"):
        of(2, backbone={"type": "dit", "patch": 4, "depth": 1, "width": 16, "heads": 2}, auxiliary=["dispersive"])
    assert of(2).digest() == of(1).digest() and of(2, 32, layout="fsdp").digest() == of(1, 32).digest()


@pytest.mark.parametrize(
    ("devices", "more", "told"),
    [
        (2, {"layout": "rows"}, "layout: expected 'contiguous', 'channels_last' or 'fsdp', not 'rows'"),
        (1, {"layout": "fsdp"}, "layout: fsdp shards weights over several devices, and devices is 1"),
        (3, {"layout": "fsdp"}, "devices: 3 does not divide the batch of 32; the nearest that does: 2"),
        (2, {"layout": "fsdp", "compile": "default"}, "layout: fsdp does not go with compile: default"),
        (2, {"layout": "fsdp", "optimizer": "muon"}, "layout: fsdp does not go with optimizer 'muon': its step makes"),
        (2, {"layout": "fsdp", "objective": "consistency"}, "layout: fsdp does not go with objective 'consistency',"),
    ],
)
def test_what_does_not_go_with_shards(devices: int, more: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        of(devices, 32, **more)


def test_what_looks_on_beside_shards_is_refused_and_what_trains_there_is_not() -> None:
    sharded = of(2, 32, layout="fsdp")
    assert refuse_devices(sharded, torch.device("cpu")) is None
    told = refuse_devices(sharded, torch.device("cpu"), probes=True)
    assert told is not None and told.startswith("layout: fsdp shards the network's weights, and probes look at weights")
    assert refuse_devices(of(2, 32, layout="fsdp", weighting="edm2"), torch.device("cpu")) is None
    assert "devices: 2" in (excluded(of(2, 32, layout="fsdp", capture="auto")) or "")
    assert "devices: 2" in (why_alone(sharded, SETTING) or "")
