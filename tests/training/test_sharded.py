"""Weights in shards: a group of one process computes as if there were none, by the same code as a group of many."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from learners import CPU, SETTING, candidate, images
from torch import Tensor
from torch.distributed.tensor import DTensor

from ablate.errors import InputError
from ablate.training.checkpoint import Checkpoint
from ablate.training.group import Group, Order
from ablate.training.learner import Learner
from ablate.training.memory_estimate import footprint
from ablate.training.placement import join
from ablate.training.steps import TrainingStep

TEACHER = {"type": "classifier", "steps": 1, "width": 8, "size": 16}
PATIENCE = timedelta(minutes=1)
SHARDED = {"layout": "fsdp", "devices": 2}
PARTS: dict[str, dict[str, Any]] = {
    "adamw": {"clip": "global_norm", "ema": "power", "micro": 4, "recompute": True},
    "adam": {"optimizer": "adam", "clip": "value", "ema": "post_hoc"},
    "sgd": {"optimizer": "sgd", "clip": "agc", "ema": "none", "guidance": {"type": "classifier"}},
    "radam": {"optimizer": {"type": "radam", "layer_decay": 0.5}, "clip": "per_layer"},
    "learned weighting": {"weighting": "edm2", "clip": "global_norm", "ema": "power"},
    "adapter": {"adapter": {"type": "lora", "rank": 2}, "start": {"file": "w"}},
    "auxiliary": {"auxiliary": [{"type": "repa", "teacher": TEACHER, "depth": 1.0}], "clip": "agc"},
}

# The version of torch that computes what `agc` and `per_layer` ask of sharded gradients.
SINCE = {"sgd": (2, 12), "auxiliary": (2, 12), "radam": (2, 10)}


@pytest.fixture
def group() -> Iterator[Group]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Group(0, 1)
    dist.destroy_process_group()


def learner(**parts: Any) -> Learner:
    made = Learner(candidate(**parts), SETTING, images(), 0, CPU, None)
    made.network.train()
    made.prepare(lambda: None)
    return made


@pytest.mark.parametrize("name", list(PARTS))
def test_shards_train_as_whole_weights_do(name: str, group: Group) -> None:
    """Losses, both norms, weights, moments, averages, snapshots; sharded after two steps, loaded again after four."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < SINCE.get(name, (0, 0)):
        pytest.skip("its clip asks of a DTensor what this version of torch does not compute")
    compare(name, group)


def compare(name: str, group: Group, steps: int = 6) -> None:
    """Train whole weights, and beside them shards over a group, of which each process calls this."""
    plain, sharded = learner(**PARTS[name]), learner(**SHARDED, **PARTS[name])
    for number in range(steps):
        if number == 2:
            join(sharded, group)
            assert all(isinstance(p, DTensor) for p in (*sharded.network.parameters(), *sharded.trainable.values()))
        if number == 4:
            tensors = whole(lambda: sharded.state({}).tensors, group)
            sharded.load(Checkpoint(0, tensors, plain.state({}).facts))
        one, two = plain.step(1000), step_of(sharded, group)
        for mine, wanted in zip(two[2:5], one[2:5], strict=True):
            assert type(mine) is torch.Tensor and torch.allclose(mine, wanted, rtol=1e-5)
    ours, theirs = plain.state({}).tensors, whole(lambda: sharded.state({}).tensors, group)
    assert ours.keys() == theirs.keys()
    theirs |= whole(sharded.snapshot, group)
    for key, value in {**ours, **plain.snapshot()}.items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-4, atol=1e-6)


def whole(ask: Callable[[], Mapping[str, Tensor]], group: Group) -> dict[str, Tensor]:
    """What the first process of a group gets of tensors, for all of them."""
    if group.rank > 0:
        group.order(Order.STATE)
    said = [dict(ask())]
    dist.broadcast_object_list(said, 0)
    return said[0]


def step_of(sharded: Learner, group: Group) -> TrainingStep:
    """A step of a learner of a group, of which the first one leads."""
    if sharded.placement.group is not None and group.rank > 0:
        group.order(Order.STEP)
    return sharded.step(1000)


def test_a_number_alone_cannot_be_cut(group: Group) -> None:
    unet = {"type": "unet", "width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "output_gain": True}
    with pytest.raises(InputError, match=r"fsdp does not go with backbone 'unet': its parameter 'gain\.factor' is a"):
        join(learner(backbone=unet, **SHARDED), group)


def test_shards_take_less_memory() -> None:
    """Of weights, gradients, moments and averages a device has its part, and of activations what its images take."""
    large = {"backbone": {"type": "dit", "patch": 4, "depth": 8, "width": 64, "heads": 2}, "batch": 8}
    whole, half, quarter = (
        footprint(candidate(**large, **more), SETTING, "cpu", 2)
        for more in ({"devices": 4}, SHARDED, {"layout": "fsdp", "devices": 4})
    )
    assert quarter.optimizer == pytest.approx(whole.optimizer / 4, rel=1e-3)
    assert quarter.averages == pytest.approx(whole.averages / 4, rel=1e-3)
    assert quarter.activations == whole.activations and quarter.total < half.total < whole.total


def of_two(rank: int, folder: str) -> None:
    """One of two processes that train all of PARTS."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2, timeout=PATIENCE
    )
    for name in PARTS:
        try:
            compare(name, Group(rank, 2))
        except BaseException as error:
            raise AssertionError(f"{name}, process {rank}: {error}") from error
    dist.destroy_process_group()


@pytest.mark.thorough
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """Also what is trained beside the network: a learned weighting, the head of an auxiliary term, an adapter."""
    torch.multiprocessing.spawn(of_two, (str(tmp_path),), nprocs=2)
